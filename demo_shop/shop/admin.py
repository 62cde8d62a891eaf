from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.db.models import CharField, QuerySet
from django.forms import TextInput
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from demo_shop.shop.models import Category, Photo, Product
from imagesim.admin import ItemStateMixin

admin.site.site_header = "Magpie"
admin.site.site_title = "Magpie"
admin.site.index_title = _("The shop")


class PhotoInline(admin.TabularInline):
    model = Photo
    extra = 1
    fields = ("preview", "file", "alt", "focus", "position")
    readonly_fields = ("preview",)
    # So that the row fits next to the admin's menu.
    formfield_overrides: ClassVar = {CharField: {"widget": TextInput(attrs={"size": 24})}}

    @admin.display(description=_("preview"))
    def preview(self, photo: Photo) -> str:
        return format_html('<img src="{}" alt="" height="72">', photo.file.url) if photo.file else "–"


@admin.register(Product)
class ProductAdmin(ItemStateMixin, admin.ModelAdmin):
    list_display = ("name", "category", "colour", "brand", "price", "stock", "active", "parent")
    list_editable = ("price", "stock", "active")
    list_filter = ("active", "category", "colour", "brand")
    search_fields = ("name", "description", "brand")
    autocomplete_fields = ("parent",)
    prepopulated_fields: ClassVar = {"slug": ("name", "colour")}
    inlines = (PhotoInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        return super().get_queryset(request).select_related("category", "parent")


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    list_display = ("name", "parent", "position")
    list_filter = ("parent",)
    search_fields = ("name",)
    prepopulated_fields: ClassVar = {"slug": ("name",)}
