"""imagesim in an existing shop: django-oscar 4.2, unmodified."""
