"""The names of the glossary in docs/architecture.md: leases, jobs, sequence numbers, skipped items."""

from django.db import migrations, models


def rename_outcomes(apps, schema_editor):
    states = apps.get_model("imagesim", "ItemState").objects.using(schema_editor.connection.alias)
    states.filter(outcome="left_out").update(outcome="skipped")


def restore_outcomes(apps, schema_editor):
    states = apps.get_model("imagesim", "ItemState").objects.using(schema_editor.connection.alias)
    states.filter(outcome="skipped").update(outcome="left_out")


class Migration(migrations.Migration):
    dependencies = [("imagesim", "0001_initial")]

    operations = [
        migrations.RenameField("itemstate", "claim", "lease"),
        migrations.RenameField("itemstate", "claimed_until", "leased_until"),
        migrations.RunPython(rename_outcomes, restore_outcomes, elidable=True),
        migrations.RemoveConstraint("embeddingclaim", "imagesim_one_claim_an_embedding"),
        migrations.RenameModel("EmbeddingClaim", "EmbeddingLease"),
        migrations.AddConstraint(
            "embeddinglease",
            models.UniqueConstraint(fields=["digest", "fingerprint"], name="imagesim_one_lease_per_embedding"),
        ),
        migrations.DeleteModel("VisualIndex"),  # a proxy, which cannot follow its base
        migrations.RenameModel("Run", "Job"),
        migrations.CreateModel(
            "VisualIndex",
            fields=[],
            options={
                "verbose_name": "visual index",
                "verbose_name_plural": "visual index",
                "permissions": [("rebuild_visualindex", "Can rebuild and reconcile the index")],
                "proxy": True,
                "default_permissions": ["view"],
                "indexes": [],
                "constraints": [],
            },
            bases=("imagesim.job",),
        ),
        migrations.RemoveConstraint("localgeneration", "imagesim_one_local_index_in_service"),
        migrations.RenameField("localgeneration", "in_service", "active"),
        migrations.RenameField("localgeneration", "stamp", "seq_no"),
        migrations.AddConstraint(
            "localgeneration",
            models.UniqueConstraint(
                condition=models.Q(active=True), fields=["index"], name="imagesim_one_active_local_index"
            ),
        ),
        migrations.RemoveIndex("localentry", "imagesim_local_stamp"),
        migrations.RenameField("localentry", "stamp", "seq_no"),
        migrations.AddIndex(
            "localentry", models.Index(fields=["generation", "seq_no"], name="imagesim_local_seq_no")
        ),
        # What the admin calls them.
        migrations.AlterModelOptions(
            "job", {"ordering": ["-started_at"], "verbose_name": "job", "verbose_name_plural": "jobs"}
        ),
        migrations.AlterField("job", "owner", models.CharField("owner", blank=True, default="", max_length=255)),
        migrations.AlterField("itemimage", "permanent", models.BooleanField("permanent error", default=False)),
        migrations.AlterField(
            "itemstate", "lease", models.CharField("leased by", blank=True, default="", max_length=64)
        ),
        migrations.AlterField(
            "itemstate", "leased_until", models.DateTimeField("leased until", blank=True, null=True)
        ),
        migrations.AlterField(
            "itemstate",
            "outcome",
            models.CharField(
                "outcome",
                choices=[
                    ("new", "never indexed"),
                    ("indexed", "indexed"),
                    ("skipped", "skipped"),
                    ("removed", "removed"),
                    ("failed", "failed"),
                ],
                default="new",
                max_length=10,
            ),
        ),
    ]
