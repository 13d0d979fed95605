"""The exercises of docs/course: a YAML file a lesson, and what checks an answer."""
