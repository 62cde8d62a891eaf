"""A shop that imagesim was not written for: django-oscar 4.2, with no line of it changed."""
