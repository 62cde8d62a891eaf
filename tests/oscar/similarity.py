"""All that an Oscar shop writes; docs/howto-oscar.md shows this file."""

from oscar.core.loading import get_model

import imagesim

Category = get_model("catalogue", "Category")
Product = get_model("catalogue", "Product")


@imagesim.register(Product)
class ProductItems(imagesim.Items):
    images = "images__original"
    category = "categories__slug"
    filters = {"type": "product_class__slug", "price": "stockrecords__price"}
    # What the methods read beyond the paths above.
    depends_on = (
        "is_public",
        "structure",
        "product_class__track_stock",
        "stockrecords__num_in_stock",
        "stockrecords__num_allocated",
        "children__is_public",
        "children__images__original",
        "children__stockrecords__price",
        "children__stockrecords__num_in_stock",
        "children__stockrecords__num_allocated",
    )

    def get_queryset(self):
        """Leave out child products, which Oscar shows on the page of their parent."""
        products = Product.objects.exclude(structure=Product.CHILD)
        return products.prefetch_related("children__images", "children__stockrecords")

    def should_index(self, product):
        return product.is_public

    def get_images(self, product):
        return [image.original for each in with_children(product) for image in each.images.all()]

    def get_category_parents(self):
        """Return the parent of each category, so that products of related categories come before others."""
        slugs = dict(Category.objects.values_list("path", "slug"))
        parents = {path: path[: -Category.steplen] for path in slugs}
        return {slug: [slugs[parents[path]]] for path, slug in slugs.items() if parents[path]}

    def get_in_stock(self, product):
        """Oscar takes a product whose stock is not tracked to be always in stock."""
        if product.product_class and not product.product_class.track_stock:
            return True
        return any(record.net_stock_level > 0 for record in stock_records(product))

    def get_filters(self, product):
        prices = tuple(record.price for record in stock_records(product) if record.price is not None)
        return {**super().get_filters(product), "price": prices}


def with_children(product):
    return [product, *(child for child in product.children.all() if child.is_public)]


def stock_records(product):
    return [record for each in with_children(product) for record in each.stockrecords.all()]
