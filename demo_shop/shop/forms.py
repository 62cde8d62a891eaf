from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from demo_shop.shop.models import Category, Product

ORDERINGS = {"name": _("Name"), "price": _("Price, lowest first"), "-price": _("Price, highest first")}

MAX_PRICE = 10**9


class ListingForm(forms.Form):
    """The filters of a category page."""

    in_stock = forms.BooleanField(required=False)
    colour = forms.CharField(required=False, max_length=50)
    price__lte = forms.DecimalField(required=False, min_value=0, max_value=MAX_PRICE, decimal_places=2)
    order = forms.CharField(required=False, max_length=20)

    def filter(self, products: Any) -> Any:
        """Filter ``products``; invalid values are ignored."""
        self.is_valid()
        data = self.cleaned_data
        if data.get("in_stock"):
            products = products.filter(stock__gt=0)
        if data.get("colour"):
            products = products.filter(colour=data["colour"])
        if data.get("price__lte") is not None:
            products = products.filter(price__lte=data["price__lte"])
        order = data.get("order")
        return products.order_by(order if order in ORDERINGS else "name", "name", "pk")


class FilterForm(forms.Form):
    """The filters of a visual search."""

    names = ("price__gte", "price__lte")
    category = forms.CharField(required=False, max_length=50)
    in_stock = forms.BooleanField(required=False)
    price__gte = forms.DecimalField(required=False, min_value=0, max_value=MAX_PRICE, label=_("Price from"))
    price__lte = forms.DecimalField(required=False, min_value=0, max_value=MAX_PRICE, label=_("Price to"))

    def clean_category(self) -> str:
        slug: str = self.cleaned_data["category"]
        if slug and not Category.objects.filter(slug=slug).exists():
            raise forms.ValidationError(_("There is no such category; choose one from the list."))
        return slug

    @property
    def filters(self) -> dict[str, Any]:
        given = {name: self.cleaned_data[name] for name in self.names}
        return {name: value for name, value in given.items() if value not in (None, "")}


class SearchForm(FilterForm):
    """A visual search: words, a photo, or both, with filters."""

    q = forms.CharField(required=False, max_length=500, strip=True, label=_("Words"))
    image = forms.FileField(required=False)
    like = forms.CharField(required=False)


class LookForm(FilterForm):
    """A photo for "shop the look"."""

    names = (*FilterForm.names, "colour")
    image = forms.FileField()
    colour = forms.CharField(required=False, max_length=50)


def colours(products: Any) -> list[str]:
    """Return the colours of ``products``, for a filter."""
    return list(products.exclude(colour="").order_by("colour").values_list("colour", flat=True).distinct())


def on_sale() -> Any:
    """Return active products with the relations that a card shows."""
    return Product.objects.filter(active=True).select_related("category").prefetch_related("photos", "variants")
