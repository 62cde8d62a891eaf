from __future__ import annotations

from abc import ABC, abstractmethod

import pytest
from django.test import override_settings

from imagesim import conf
from imagesim.conf import Backend, Settings, get_settings
from imagesim.exceptions import ConfigurationError, format_choices


@override_settings()
def test_defaults(settings):
    del settings.IMAGESIM

    assert get_settings() == Settings()
    assert Backend("imagesim.indexes.local.LocalIndex", {}) == get_settings().INDEX


def test_settings_override_the_defaults(settings):
    settings.IMAGESIM = {
        "INDEX": {"BACKEND": "a.B", "OPTIONS": {"name": "x"}},
        "EMBEDDER": {"BACKEND": "a.C"},
        "REGIONS": {"BACKEND": "a.D", "OPTIONS": None},
        "IMAGE_FORMATS": ["PNG"],
        "REST_THROTTLES": {"look": None},
        "MAX_OFFSET": 0,
    }

    given = get_settings()

    assert Backend("a.B", {"name": "x"}) == given.INDEX
    assert Backend("a.C") == given.EMBEDDER  # the default's options belong to the default's class
    assert Backend("a.D") == given.REGIONS
    assert given.IMAGE_FORMATS == ("PNG",)
    assert given.REST_THROTTLES == {**Settings().REST_THROTTLES, "look": None}
    assert given.MAX_OFFSET == 0
    assert given.MAX_LIMIT == Settings().MAX_LIMIT


def test_changed_settings_are_reloaded():
    with override_settings(IMAGESIM={"MAX_LIMIT": 70}):
        assert get_settings().MAX_LIMIT == 70
    assert get_settings().MAX_LIMIT == Settings().MAX_LIMIT
    with override_settings(LANGUAGE_CODE="de"):
        assert get_settings().MAX_LIMIT == Settings().MAX_LIMIT


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "IMAGESIM must be a dict, not of type list."),
        ({"INDEXX": {}}, "IMAGESIM has no setting 'INDEXX'; did you mean 'INDEX'?"),
        ({"max_ofset": 1}, "IMAGESIM has no setting 'max_ofset'; did you mean 'MAX_OFFSET'"),
        ({"THUMBNAILS": 1}, "IMAGESIM has no setting 'THUMBNAILS'; it has 'EMBEDDER', "),
        ({1: 2}, "IMAGESIM has no setting 1;"),
        (
            {"SYNC": "later"},
            "IMAGESIM['SYNC'] is 'later'; it can be 'auto', 'celery', 'django_tasks', 'manual' or 'thread'.",
        ),
        ({"SYNC": None}, "IMAGESIM['SYNC'] must be of type str, not NoneType (None)."),
        ({"MAX_LIMIT": "9"}, "IMAGESIM['MAX_LIMIT'] must be of type int, not str ('9')."),
        ({"MAX_LIMIT": True}, "IMAGESIM['MAX_LIMIT'] must be of type int, not bool (True)."),
        ({"MAX_LIMIT": 23}, "IMAGESIM['MAX_LIMIT'] is 23; it must be from 24 to 500."),
        ({"MAX_LIMIT": 501}, "IMAGESIM['MAX_LIMIT'] is 501; it must be from 24 to 500."),
        ({"MAX_OFFSET": -1}, "IMAGESIM['MAX_OFFSET'] is -1; it must be from 0 to 4000."),
        ({"SIMILAR_SECONDS": -1}, "IMAGESIM['SIMILAR_SECONDS'] is -1; it must be 0 or more."),
        (
            {"INDEX": "a.B"},
            "IMAGESIM['INDEX'] must be a dict with a 'BACKEND' path and optional 'OPTIONS', not of type",
        ),
        ({"INDEX": {}}, "IMAGESIM['INDEX'] must have a 'BACKEND', the dotted path of a class."),
        ({"INDEX": {"BACKEND": 3}}, "IMAGESIM['INDEX'] must have a 'BACKEND'"),
        ({"INDEX": {"BACKEND": "a.B", "NAME": 1}}, "IMAGESIM['INDEX'] has the unknown key 'NAME'; it takes 'BACKEND'"),
        ({"INDEX": {"BACKEND": "a.B", "OPTIONS": "x"}}, "IMAGESIM['INDEX']['OPTIONS'] must be a dict with string keys"),
        ({"INDEX": {"BACKEND": "a.B", "OPTIONS": {1: 2}}}, "IMAGESIM['INDEX']['OPTIONS'] must be a dict with string"),
        ({"IMAGE_FORMATS": "PNG"}, "IMAGESIM['IMAGE_FORMATS'] must be a list or tuple of strings, not 'PNG'."),
        ({"IMAGE_FORMATS": []}, "IMAGESIM['IMAGE_FORMATS'] names no format, so no picture would be accepted."),
        ({"IMAGE_FORMATS": [1]}, "IMAGESIM['IMAGE_FORMATS'] must be a list or tuple of strings, not [1]."),
        ({"REST_THROTTLES": "1/s"}, "IMAGESIM['REST_THROTTLES'] must be a dict, not str ('1/s')."),
        ({"REST_THROTTLES": {"x": "1/s"}}, "IMAGESIM['REST_THROTTLES'] has the unknown key 'x'; it takes 'events', "),
        (
            {"REMOTE_IMAGE_HOSTS": ["a.example", "https://b.example"]},
            "IMAGESIM['REMOTE_IMAGE_HOSTS'] has 'https://b.example'; write the host alone, such as 'cdn.example.com'.",
        ),
        (
            {"REST_THROTTLES": {"look": "30 per minute"}},
            "IMAGESIM['REST_THROTTLES']['look'] must be a string such as '30/min', not '30 per minute'.",
        ),
        (
            {"REST_THROTTLES": {"look": 1}},
            "IMAGESIM['REST_THROTTLES']['look'] must be a string such as '30/min', not 1.",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_the_valid_ones(settings, given, message):
    settings.IMAGESIM = given

    with pytest.raises(ConfigurationError) as caught:
        get_settings()

    assert str(caught.value).startswith(message)


def test_every_wrong_setting_is_found_and_the_others_apply():
    settings, errors = conf.parse({"MAX_LIMIT": 50, "SYNC": 1, "NO": 2})

    assert settings.MAX_LIMIT == 50
    assert len(errors) == 2


def test_no_message_shows_the_values_of_options(settings):
    settings.IMAGESIM = {"INDEX": {"BACKEN": "a.B", "OPTIONS": {"api_key": "secret"}}}

    with pytest.raises(ConfigurationError) as caught:
        get_settings()

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "text"), [([], "nothing"), (["a"], "'a'"), (["b", "a"], "'a' or 'b'"), ([3, 1, 2], "1, 2 or 3")]
)
def test_format_choices(values, text):
    assert format_choices(values) == text


class Base:
    def __init__(self, size: int = 1) -> None:
        self.size = size


class Other: ...


class Sized(Base):
    @property
    def width(self) -> int:
        return 1


class Method(Sized):
    def width(self) -> int:
        return 2


class Attribute(Sized):
    width = 2


class Unfinished(Base, ABC):
    @abstractmethod
    def second(self) -> None: ...

    @abstractmethod
    def first(self) -> None: ...


def of(name: str, **options: object) -> Backend:
    return Backend(f"{__name__}.{name}", options)


def test_a_backend_is_created_once_for_the_same_options():
    one = conf.get_instance(of("Base", size=2), Base)

    assert conf.get_instance(of("Base", size=2), Base) is one
    assert conf.get_instance(of("Base", size=3), Base) is not one
    assert one.size == 2
    with override_settings(IMAGESIM={}):
        assert conf.get_instance(of("Base", size=2), Base) is not one


def test_a_backend_is_created_again_in_another_process(monkeypatch):
    one = conf.get_instance(of("Base"), Base)
    monkeypatch.setattr("os.getpid", lambda: -1)

    assert conf.get_instance(of("Base"), Base) is not one


def test_a_method_in_place_of_a_property_is_named():
    assert conf.load_class(of("Attribute"), Sized) is Attribute
    with pytest.raises(ConfigurationError, match=r"Method' defines width as a method; it must be a property."):
        conf.load_class(of("Method"), Sized)


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (Backend("nowhere"), "'nowhere' cannot be imported: nowhere doesn't look like a module path."),
        (Backend("no.Where"), "'no.Where' cannot be imported: No module named 'no'."),
        (of("Missing"), 'cannot be imported: Module "tests.test_conf" does not define a "Missing" attribute/class.'),
        (of("Other"), "'tests.test_conf.Other' is not a subclass of tests.test_conf.Base."),
        (of("format_choices"), "'tests.test_conf.format_choices' is not a subclass of tests.test_conf.Base."),
        (of("Base", colour=1), "'tests.test_conf.Base' does not accept its OPTIONS: "),
        (of("Unfinished"), "'tests.test_conf.Unfinished' does not define first, second."),
    ],
)
def test_a_backend_that_cannot_be_created_is_named(backend, message):
    with pytest.raises(ConfigurationError) as caught:
        conf.get_instance(backend, Base)

    assert message in str(caught.value)


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    (tmp_path / "needs_elastic.py").write_text("import elasticsearch.dsl\nclass Index: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "elasticsearch", None)

    with pytest.raises(ConfigurationError) as caught:
        conf.load_class(Backend("needs_elastic.Index"), Base)

    assert 'Install it with: pip install "django-imagesim[elasticsearch]"' in str(caught.value)
    assert conf.install_hint(ImportError("something else")) == ""


def test_a_list_of_backends(settings):
    former = {"BACKEND": "tests.embedders.PixelEmbedder", "OPTIONS": {"dims": 3}}
    settings.IMAGESIM = {"PREVIOUS_EMBEDDERS": [former]}
    assert (Backend("tests.embedders.PixelEmbedder", {"dims": 3}),) == get_settings().PREVIOUS_EMBEDDERS
    settings.IMAGESIM = {"PREVIOUS_EMBEDDERS": former}
    with pytest.raises(ConfigurationError, match="must be a list of dicts, not of type dict"):
        get_settings()
    settings.IMAGESIM = {"PREVIOUS_EMBEDDERS": [{"OPTIONS": {}}]}
    with pytest.raises(ConfigurationError, match=r"'PREVIOUS_EMBEDDERS'.*'BACKEND'"):
        get_settings()
