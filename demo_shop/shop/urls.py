from django.urls import path

from demo_shop.shop import views

app_name = "shop"
urlpatterns = [
    path("", views.home, name="home"),
    path("shop/<slug:slug>/", views.category, name="category"),
    path("product/<slug:slug>/", views.product, name="product"),
    path("search/", views.search, name="search"),
    path("look/", views.look, name="look"),
    path("gallery/", views.gallery, name="gallery"),
    path("gallery/<slug:slug>/", views.gallery, name="gallery"),
]
