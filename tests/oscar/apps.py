from django.apps import AppConfig


class VisualSearchConfig(AppConfig):
    """The app in which the shop keeps its similarity.py."""

    name = "tests.oscar"
    label = "visual_search"
