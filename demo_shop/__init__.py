"""A demo shop that uses imagesim."""

# Imported with Django, so that every process sends its tasks to the same broker.
from demo_shop.celery import app as celery_app

__all__ = ["celery_app"]
