"""For monitors: ``path("visual/", include("imagesim.urls"))``. ``metrics/`` needs prometheus_client."""

from importlib.util import find_spec

from django.urls import path

from imagesim.monitoring import health

app_name = "imagesim_monitoring"
urlpatterns = [
    path("live/", health.live_view, name="live"),
    path("health/", health.health_view, name="health"),
]
if find_spec("prometheus_client"):  # pragma: no branch (tested in a process of its own)
    urlpatterns.append(path("metrics/", health.metrics_view, name="metrics"))
