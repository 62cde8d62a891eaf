"""The declarations for imagesim: the pictures, the category, the stock and the filters."""

from django.urls import reverse
from django.utils.translation import gettext as _

import imagesim
from demo_shop.shop.models import Product


@imagesim.register(Product)
class ProductItems(imagesim.Items[Product]):
    images = "photos__file"
    category = "category__slug"
    category_parent = "category__parent__slug"
    in_stock = "stock"
    group = "parent_id"
    text = {
        "name": 3,
        "name_de": 3,
        "brand": 2,
        "category__name": 2,
        "category__name_de": 2,
        "category__parent__name": 1,
        "category__parent__name_de": 1,
        "description": 1,
        "description_de": 1,
    }
    filters = {"brand": "brand", "price": "price", "colour": "colour"}
    measured_colours = "colour"

    def should_index(self, product: Product) -> bool:
        return product.active

    def get_similar_url(self, product: Product) -> str:
        return f"{reverse('shop:search')}?like={product.slug}"

    def get_details(self, product: Product) -> dict[str, str]:
        return {"price": product.shown_price, "badge": "" if product.in_stock else _("Sold out")}
