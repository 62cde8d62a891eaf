"""All that an Oscar shop writes; docs/howto-oscar.md shows this file."""

from oscar.core.loading import get_model

import imagesim

Product = get_model("catalogue", "Product")


@imagesim.register(Product)
class ProductItems(imagesim.Items):
    images = "images__original"
    category = "categories__slug"
    group = "parent_id"
    filters = {"type": "product_class__slug", "price": "stockrecords__price"}
    # What get_in_stock and should_index read beyond the paths above.
    depends_on = (
        "is_public",
        "product_class__track_stock",
        "stockrecords__num_in_stock",
        "stockrecords__num_allocated",
        "children__stockrecords__num_in_stock",
        "children__stockrecords__num_allocated",
    )

    def should_index(self, product):
        return product.is_public

    def get_in_stock(self, product):
        """As Oscar's own strategy has it: what does not track stock is always there."""
        if product.product_class and not product.product_class.track_stock:
            return True
        records = [*product.stockrecords.all()]
        for child in product.children.all():
            records += child.stockrecords.all()
        return any(record.net_stock_level > 0 for record in records)
