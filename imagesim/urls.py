"""For monitors: ``path("visual/", include("imagesim.urls"))``. ``metrics/`` is there where prometheus_client is."""

from importlib.util import find_spec

from django.urls import path

from imagesim.monitoring import status

app_name = "imagesim_monitoring"
urlpatterns = [
    path("live/", status.live_view, name="live"),
    path("health/", status.health_view, name="health"),
]
if find_spec("prometheus_client"):  # pragma: no branch (tested in a process of its own)
    urlpatterns.append(path("metrics/", status.metrics_view, name="metrics"))
