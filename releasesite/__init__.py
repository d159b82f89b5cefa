"""The site: settings, the API's frame, logins, the commands. Its version is the whole system's."""

__version__ = "0.2.0"
