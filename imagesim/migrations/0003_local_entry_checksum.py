"""Entries of the local index carry a checksum. The index is emptied in both directions: the next sync makes it anew without
embedding."""

from django.db import migrations, models


def empty(apps, schema_editor):
    using = schema_editor.connection.alias
    apps.get_model("imagesim", "LocalEntry").objects.using(using).all().delete()
    apps.get_model("imagesim", "LocalGeneration").objects.using(using).all().delete()


class Migration(migrations.Migration):
    dependencies = [("imagesim", "0002_rename")]

    operations = [
        migrations.RunPython(empty, migrations.RunPython.noop, elidable=True),
        *(
            migrations.RemoveField("localentry", name)
            for name in ("model", "in_stock", "group", "categories", "filters", "images")
        ),
        migrations.AddField("localentry", "document", models.BinaryField(default=bytes)),
        migrations.AddField("localentry", "checksum", models.BigIntegerField(default=0)),
        migrations.RunPython(migrations.RunPython.noop, empty, elidable=True),  # reversed, it is the first
    ]
