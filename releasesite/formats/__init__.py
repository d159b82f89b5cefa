"""One form of times and numbers in both languages, on pages, in the admin and in our documents.

A time is 2026-11-27 16:05:09, in the reader's zone; without the script, 2026-11-27 16:05:09 UTC (`{% when %}`, console.js). A
duration and a size are in words (`|duration`, `|size`). Numbers are not grouped: what is shown can be searched for and
copied, be it a count, a port or an id. Between Chinese and Latin letters or digits stands a space.
"""
