from __future__ import annotations

import logging
import time
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.core.files.storage import default_storage
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

import imagesim
from demo_shop.shop import catalogue
from demo_shop.shop.forms import ORDERINGS, ListingForm, LookForm, SearchForm, colours, on_sale
from demo_shop.shop.models import Category, Product
from imagesim.circuit_breaker import log_repeated
from imagesim.exceptions import BadImage, BadQuery, DeadlineExceeded, ImagesimError
from imagesim.pages import widgets
from imagesim.pages.refinement import Refinement
from imagesim.rest.uploads import limit_uploads, photo_url
from imagesim.retrieval.query_image import read_picture
from imagesim.retrieval.variants import page_floor

logger = logging.getLogger(__name__)

TRAIL_LENGTH = 8
WINDOW = 15
PAGE = 60
"""The number of products on a page of a category."""
WANDER = 500
"""The maximum number of pictures, chosen at random, on the page of all pictures."""


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show one product of each category on the home page, changing every hour."""
    hour = int(time.time() // 3600)
    products = on_sale().filter(parent=None, stock__gt=0).order_by("category__parent__position", "category", "pk")
    keys = list(products.values_list("category", "pk"))
    shelves = [[pk for _category, pk in shelf] for _category, shelf in groupby(keys, key=itemgetter(0))]
    window = [shelf[hour % len(shelf)] for shelf in shelves]
    if len(window) < WINDOW:  # a catalogue with few categories
        window += [pk for _category, pk in keys[: 2 * WINDOW] if pk not in window]
    found = on_sale().in_bulk(window[:WINDOW])
    return render(request, "shop/home.html", {"products": [found[pk] for pk in window[:WINDOW] if pk in found]})


@require_safe
def category(request: HttpRequest, slug: str) -> HttpResponse:
    category = get_object_or_404(Category.objects.select_related("parent"), slug=slug)
    inside = [category, *category.children.all()]
    everything = on_sale().filter(category__in=inside, parent=None)
    form = ListingForm(request.GET)
    context = {
        "category": category,
        "siblings": (category.parent or category).children.all(),
        "page": Paginator(form.filter(everything), PAGE).get_page(request.GET.get("page")),
        "total": everything.count(),
        "colours": colours(everything),
        "form": form,
        "orderings": ORDERINGS.items(),
    }
    return render(request, "shop/category.html", context)


@require_safe
def product(request: HttpRequest, slug: str) -> HttpResponse:
    product = get_object_or_404(on_sale().select_related("category__parent", "parent"), slug=slug)
    family = product.parent or product
    variants = on_sale().filter(parent=family) if family.variants.exists() else []
    context = {"product": product, "family": [family, *variants] if variants else []}
    return render(request, "shop/product.html", context)


def search_refused(request: HttpRequest, message: str, status: int) -> HttpResponse:
    context = {
        "form": SearchForm(request.GET),
        "hits": imagesim.Hits(),
        "asked": True,
        "error": message,
        "filtered": False,
    }
    return render(request, "shop/search.html", context, status=status)


def _address(given: QueryDict) -> str:
    """Return a posted form as a query string, so that its results have a URL."""
    query = given.copy()
    for name, values in given.lists():
        if name == "csrfmiddlewaretoken" or not any(values):
            del query[name]
    return query.urlencode()


@require_http_methods(["GET", "HEAD", "POST"])
@limit_uploads("search", params=["q", "like"], refused=search_refused)
def search(request: HttpRequest) -> HttpResponse:
    """Search by words (GET, so that the page can be shared) or by a photo (POST; the photo is not stored)."""
    asked = request.method == "POST"
    if asked and not request.FILES and any(request.POST.get(name, "").strip() for name in ("q", "like")):
        return redirect(f"{request.path}?{_address(request.POST)}")
    form = SearchForm(request.POST if asked else request.GET, request.FILES if asked else None)
    hits = imagesim.Hits()
    error, status, like, region, refinement = "", 200, None, None, None
    if not form.is_valid():
        field, problem = next((name, errors[0]) for name, errors in form.errors.items())
        error, status = f"{form.fields[field].label or field.capitalize()}: {problem}", 400
    else:
        data = form.cleaned_data
        like = on_sale().filter(slug=data["like"]).first() if data["like"] else None
        if data["like"] and like is None:
            return search_refused(request, _("This product is no longer in the shop."), 404)
        region = widgets.chosen_region(request, like) if like else None
        asked = bool(data["q"] or data["image"] or like)
        refinement = Refinement(
            Product,
            form.data,
            facets={"brand": _("Brand"), "colour": _("Colour")},
            sort={"price": _("Price")},
            like=like,
            name_of=lambda facet, value: _(value) if facet == "colour" else value,
        )
        if asked:
            try:
                arguments = refinement.arguments(
                    category=data["category"] or None,
                    in_stock=data["in_stock"] or None,
                    filters=form.filters,
                    min_relevance=page_floor(),
                )
                if like:
                    hits = imagesim.similar_to(like, region_id=region and region.id, **arguments)
                else:
                    text, photo = data["q"] or None, data["image"]
                    region_of_photo = "auto" if photo else None
                    hits = imagesim.search(image=photo, text=text, region=region_of_photo, model=Product, **arguments)
                hits = refinement.apply(hits)
            except (BadImage, BadQuery) as problem:
                error, status = str(problem), 400
            except DeadlineExceeded as problem:
                error, status = str(problem), 503
            except ImagesimError:
                log_repeated(logger, logging.ERROR, "search", "The visual search cannot answer", exc_info=True)
                error, status = _("Search is taking a short break. Please try again in a moment."), 503
    context = {"form": form, "hits": hits, "asked": asked, "error": error, "searched": form.data.get("q", "")}
    context["filtered"] = any(form.data.get(name) for name in ("category", "in_stock", "price__gte", "price__lte"))
    context |= {
        "like": like,
        "region": region,
        "refinement": None if request.FILES else refinement,
    }  # a URL contains no photo
    return render(request, "shop/search.html", context, status=status)


def look_refused(request: HttpRequest, message: str, status: int) -> HttpResponse:
    context = {"look": None, "samples": [], "error": message, "form": LookForm(), **_look_facets()}
    return render(request, "shop/look.html", context, status=status)


def _look_facets() -> dict[str, Any]:
    """Return the facets of a look, and the colours for a page without JavaScript."""
    known = colours(on_sale())
    return {
        "facets": {"brand": _("Brand"), "colour": _("Colour")},
        "names": {"colour": {colour: _(colour) for colour in known}},
        "colours": known,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@limit_uploads("look", params=["sample"], refused=look_refused)
def look(request: HttpRequest) -> HttpResponse:
    """Shop the look. The page uses the REST API; without JavaScript, the photo is posted here (and not stored)."""
    form = LookForm(request.POST, request.FILES) if request.method == "POST" else LookForm()
    samples = [sample for sample in catalogue.load().samples if default_storage.exists(sample.path)]
    sample = next((sample for sample in samples if sample.slug == request.GET.get("sample")), None)
    found, photo, error, status = None, "", "", 200
    try:
        if form.is_valid():
            data = form.cleaned_data
            picture = read_picture(data["image"])  # once, for both
            found = imagesim.shop_the_look(
                picture,
                model=Product,
                category=data["category"] or None,
                in_stock=data["in_stock"] or None,
                filters=form.filters or None,
                min_relevance=page_floor(),
            )
            photo = photo_url(request, picture)
        elif form.is_bound:
            error, status = _("Choose a photo first, and a category and prices that make sense."), 400
        elif sample is not None:
            with default_storage.open(sample.path) as file:
                found = imagesim.shop_the_look(file, model=Product, min_relevance=page_floor())
            photo = default_storage.url(sample.path)
    except (BadImage, BadQuery) as problem:
        error, status = str(problem), 400
    except DeadlineExceeded as problem:
        error, status = str(problem), 503
    except ImagesimError:
        log_repeated(logger, logging.ERROR, "search", "The visual search cannot answer", exc_info=True)
        error, status = _("Search is taking a short break. Please try again in a moment."), 503
    shown = [
        {"url": default_storage.url(one.path), "name": one.local_name, "page": f"{request.path}?sample={one.slug}"}
        for one in samples
    ]
    context = {"look": found, "photo": photo, "samples": shown, "error": error, "form": form, **_look_facets()}
    return render(request, "shop/look.html", context, status=status)


@require_safe
def gallery(request: HttpRequest, slug: str = "") -> HttpResponse:
    """Show all pictures, or one in the centre with the most similar ones around it."""
    if not slug:
        palette, colour = colours(on_sale()), request.GET.get("colour", "")
        products = on_sale().filter(colour=colour) if colour in palette else on_sale().filter(parent=None)
        palette.sort(key=lambda each: each != colour)  # on a phone, the others have to be scrolled to
        context = {"products": products.order_by("?")[:WANDER], "palette": palette, "colour": colour}
        return render(request, "shop/gallery_all.html", context)
    centre = get_object_or_404(on_sale(), slug=slug)
    neighbours = widgets.similar_hits(centre, limit=12)
    via = request.GET.get("via", "").replace("\0", "")  # PostgreSQL refuses NUL
    visited = [name for name in via.split(",") if name and name != slug][-TRAIL_LENGTH:]
    by_slug = on_sale().in_bulk(visited, field_name="slug")
    context = {
        "centre": centre,
        "neighbours": neighbours,
        "trail": [by_slug[name] for name in visited if name in by_slug],
        "via": ",".join([*visited, slug][-TRAIL_LENGTH:]),
    }
    return render(request, "shop/gallery.html", context)
