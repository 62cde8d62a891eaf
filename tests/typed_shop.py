"""The code of a shop, as mypy checks it: correct code has no error, and a comment marks each error that mypy finds."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.views.generic import TemplateView

import imagesim
from demo_shop.shop.models import Product
from imagesim.admin import ItemStateMixin
from imagesim.rest.uploads import limit_uploads


class ProductItems(imagesim.Items[Product]):
    images = "photos__file"

    def should_index(self, product: Product) -> bool:
        return product.stock > 0


class ProductAdmin(ItemStateMixin, admin.ModelAdmin[Product]):
    list_display = ("name", "price")


def search(product: Product, photo: bytes) -> None:
    imagesim.similar_to(product, limit=3, like=[(photo, 2), "red^0.5", product], unlike="laces")
    imagesim.similar_to(product, limt=3)  # type: ignore[call-arg]
    imagesim.similar_to(product, like=3)  # type: ignore[arg-type]
    imagesim.simlar_to(product)  # type: ignore[attr-defined]


def names(product: Product, hits: imagesim.Hits) -> list[str]:
    """The hits of an item have its type; those of a search can be of several models."""
    hits = hits or imagesim.search(text=product.colour)
    return [hit.item.name for hit in imagesim.similar_to(product)] + [hit.item.anything for hit in hits]


def misspelled(product: Product) -> list[str]:
    return [hit.item.nmae for hit in imagesim.similar_to(product)]  # type: ignore[attr-defined]


async def search_in_async_view(product: Product, photo: bytes) -> None:
    await imagesim.asearch(image=photo, text="red", like=["leather"])
    await imagesim.asimilar_to(product, limt=3)  # type: ignore[call-arg]
    print((await imagesim.asimilar_to(product))[0].item.nmae)  # type: ignore[attr-defined]
    await imagesim.asearch(image="photo.jpg")  # type: ignore[arg-type]


@limit_uploads("look")
def look(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@limit_uploads("look")
async def look_in_async_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


page = limit_uploads("search", params=["q"])(TemplateView.as_view(template_name="shop/search.html"))
