"""Constraints and indexes that every database has: MySQL and MariaDB ignore those with a condition."""

from django.db import migrations, models


def not_active(apps, schema_editor):
    generations = apps.get_model("imagesim", "LocalGeneration").objects.using(schema_editor.connection.alias)
    generations.filter(active=False).update(active=None)


def active_or_not(apps, schema_editor):
    generations = apps.get_model("imagesim", "LocalGeneration").objects.using(schema_editor.connection.alias)
    generations.filter(active=None).update(active=False)


class Migration(migrations.Migration):
    dependencies = [("imagesim", "0006_job_control")]

    operations = [
        migrations.RemoveConstraint("localgeneration", "imagesim_one_active_local_index"),
        migrations.AlterField("localgeneration", "active", models.BooleanField(default=None, null=True)),
        migrations.RunPython(not_active, active_or_not, elidable=True),
        migrations.AddConstraint(
            "localgeneration",
            models.UniqueConstraint(fields=["index", "active"], name="imagesim_one_active_local_index"),
        ),
        migrations.RemoveIndex("localentry", "imagesim_local_tombstones"),
        migrations.AddIndex(
            "localentry", models.Index(fields=["generation", "removed_at"], name="imagesim_local_tombstones")
        ),
    ]
