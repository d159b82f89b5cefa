"""The tools that people use today, each doing exactly what a deploy and a rollback do here."""
