"""``path("api/visual/", include("imagesim.rest.urls"))``."""

from django.urls import path

from imagesim.rest import views
from imagesim.thumbnails import thumbnail

app_name = "imagesim"
endpoints = [
    path("items/<str:model>/<str:pk>/similar/", views.SimilarView.as_view(), name="similar"),
    path("search/", views.SearchView.as_view(), name="search"),
    path("suggest/", views.SuggestView.as_view(), name="suggest"),
    path("look/", views.LookView.as_view(), name="look"),
    path("look/<str:token>/", views.HeldLookView.as_view(), name="held_look"),
    path("look/<str:token>/photo/", views.HeldPhotoView.as_view(), name="held_photo"),
    path("look/<str:token>/region/", views.LookRegionView.as_view(), name="look_region"),
    path("events/", views.EventsView.as_view(), name="events"),
]
urlpatterns = [
    *endpoints,
    path("thumbnail/<str:signed>/", thumbnail, name="thumbnail"),
    path("schema/", views.SchemaView.as_view(patterns=endpoints), name="schema"),
]
