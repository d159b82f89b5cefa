"""Words of packages whose Chinese we replace, so that `make messages` finds them.

Our catalogue comes first. Django's own Chinese leaves holes around a name (选择 实例 来修改) and mixes 你 with 您; django-q
calls a queue's entry otherwise than we do; axes has no Chinese at all.
"""

from __future__ import annotations

from django.utils.translation import gettext_noop as _
from django.utils.translation import ngettext_lazy

DJANGO = (
    _("After you’ve created a user, you’ll be able to edit more user options."),
    _("First, enter a username and password. Then, you’ll be able to edit more user options."),
    _(" By %(filter_title)s "),
    _("Add %(name)s"),
    _("Add %s"),
    _("Add another %(model)s"),
    _("Add another %(verbose_name)s"),
    _("Cannot delete %(name)s"),
    _("Change %s"),
    _("Change history: %s"),
    _("Delete selected %(verbose_name_plural)s"),
    _("Enter a new password for the user <strong>%(username)s</strong>."),
    _("Select %s"),
    _("Select %s to change"),
    _("Select %s to view"),
    _("Select all %(total_count)s %(module_name)s"),
    _("Successfully deleted %(count)d %(items)s."),
    _("View %s"),
    _("%(full_result_count)s total"),
    _("%(name)s with ID “%(key)s” doesn’t exist. Perhaps it was deleted?"),
    _("Are you sure?"),
    _(
        'Are you sure you want to delete the %(object_name)s "%(escaped_object)s"? '
        "All of the following related items will be deleted:"
    ),
    _(
        "Are you sure you want to delete the selected %(objects_name)s? "
        "All of the following objects and their related items will be deleted:"
    ),
    _(
        "Deleting the %(object_name)s '%(escaped_object)s' would require deleting the following protected related objects:"
    ),
    _("Deleting the selected %(objects_name)s would require deleting the following protected related objects:"),
    _(
        "Deleting the %(object_name)s '%(escaped_object)s' would result in deleting related objects, "
        "but your account doesn't have permission to delete the following types of objects:"
    ),
    _(
        "Deleting the selected %(objects_name)s would result in deleting related objects, "
        "but your account doesn't have permission to delete the following types of objects:"
    ),
    _("The {name} “{obj}” was added successfully. You may add another {name} below."),
    _("The {name} “{obj}” was changed successfully. You may add another {name} below."),
    _("The {name} “{obj}” was changed successfully. You may edit it again below."),
    _("You don’t have permission to view or edit anything."),
    _("Your old password was entered incorrectly. Please enter it again."),
    _("Your password can’t be a commonly used password."),
    _("Your password can’t be entirely numeric."),
    _("Your password can’t be too similar to your other personal information."),
    _("%(app)s administration"),
    _("%(model_name)s with this %(field_label)s already exists."),
    _("%(model_name)s with this %(field_labels)s already exists."),
    _("%(name)s object with primary key %(key)r does not exist."),
    _("(Hidden field %(name)s) %(error)s"),
    _("0 of %(cnt)s selected"),
    _("A user with that username already exists."),
    _("Added {name} “{object}”."),
    _("Breadcrumbs"),
    _("Change selected %(model)s"),
    _("Changed {fields} for {name} “{object}”."),
    _("Delete selected %(model)s"),
    _("Deleted {name} “{object}”."),
    _(
        "Deleting %(class_name)s %(instance)s would require deleting the following protected related objects: "
        "%(related_objects)s"
    ),
    _("Designates that this user has all permissions without explicitly assigning them."),
    _("Designates whether the user can log into this admin site."),
    _("Designates whether this user should be treated as active. Unselect this instead of deleting accounts."),
    _("Ensure this value is greater than or equal to %(limit_value)s."),
    _("Ensure this value is less than or equal to %(limit_value)s."),
    _("Enter a username and password."),
    _("Enter a valid JSON."),
    _("Items must be selected in order to perform actions on them. No items have been changed."),
    _("Models in the %(name)s application"),
    _("No action selected."),
    _("Past 7 days"),
    _("Please enter a correct %(username)s and password. Note that both fields may be case-sensitive."),
    _(
        "Please enter the correct %(username)s and password for a staff account. "
        "Note that both fields may be case-sensitive."
    ),
    _("Popup closing…"),
    _("Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only."),
    _("Save and add another"),
    _("Select a valid choice. %(value)s is not one of the available choices."),
    _("Select a valid choice. That choice is not one of the available choices."),
    _("Select this object for an action - {}"),
    _("Set password: %s"),
    _("Sorting priority: %(priority_number)s"),
    _("Start typing to filter…"),
    _("Thanks for spending some quality time with the web site today."),
    _("The %(name)s “%(obj)s” was deleted successfully."),
    _("The groups this user belongs to. A user will get all permissions granted to each of their groups."),
    _("The password is too similar to the %(verbose_name)s."),
    _("The {name} “{obj}” was added successfully."),
    _("The {name} “{obj}” was changed successfully."),
    _("This account is inactive."),
    _(
        "Whether the user will be able to authenticate using a password or not. If disabled, they may still be able to "
        "authenticate using other backends, such as Single Sign-On or LDAP."
    ),
    _(
        "You are authenticated as %(username)s, but are not authorized to access this page. "
        "Would you like to login to a different account?"
    ),
    _("memory cost"),
    _("object id"),
    _("parallelism"),
    _("staff status"),
    _("time cost"),
    _("“%(pk)s” is not a valid value."),
)
DJANGO_COUNTS = (
    ngettext_lazy("%(total_count)s selected", "All %(total_count)s selected", "total_count"),
    ngettext_lazy("%(counter)s result", "%(counter)s results", "counter"),
    ngettext_lazy(
        "Ensure this value has at least %(limit_value)d character (it has %(show_value)d).",
        "Ensure this value has at least %(limit_value)d characters (it has %(show_value)d).",
        "limit_value",
    ),
    ngettext_lazy(
        "Ensure this value has at most %(limit_value)d character (it has %(show_value)d).",
        "Ensure this value has at most %(limit_value)d characters (it has %(show_value)d).",
        "limit_value",
    ),
    ngettext_lazy(
        "%(count)s %(name)s was changed successfully.", "%(count)s %(name)s were changed successfully.", "count"
    ),
    ngettext_lazy(
        "Your password must contain at least %(min_length)d character.",
        "Your password must contain at least %(min_length)d characters.",
        "min_length",
    ),
)
REST_FRAMEWORK = (
    _('"{input}" is not a valid choice.'),
    _("Could not satisfy the request Accept header."),
    _('Expected a dictionary of items but got type "{input_type}".'),
    _('Expected a list of items but got type "{input_type}".'),
    _("Incorrect authentication credentials."),
    _("Invalid data. Expected a dictionary, but got {datatype}."),
    _("Invalid token header. No credentials provided."),
    _("Invalid token header. Token string should not contain invalid characters."),
    _("Invalid token header. Token string should not contain spaces."),
    _('Method "{method}" not allowed.'),
    _("Surrogate characters are not allowed: U+{code_point:X}."),
    _("This dictionary may not be empty."),
    _('Unsupported media type "{media_type}" in request.'),
    _("You do not have permission to perform this action."),
)
DJANGO_Q = (
    _("Queued task"),
    _("Queued tasks"),
    _("Cluster key"),
    _("Lock until"),
    _("Name of the target cluster"),
    _("Payload"),
    _("Prevent any cluster from pulling until"),
    _("Task id"),
)
AXES = (
    _("access attempt"),
    _("access attempts"),
    _("User Agent"),
    _("IP Address"),
    _("Username"),
    _("HTTP Accept"),
    _("Path"),
    _("Attempt Time"),
    _("GET Data"),
    _("POST Data"),
    _("Failed Logins"),
    _("Expires At"),
    _("Locked Out"),
    _("Form Data"),
    _("Meta Data"),
    _("Not set"),
    _("Attempt Remaining"),
    _("Clean up expired attempts"),
)
