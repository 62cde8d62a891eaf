from __future__ import annotations

import sys
from typing import Any

from demo_shop.shop.progress import ProgressBar
from demo_shop.shop.seeding import seed
from imagesim.management import InterruptibleCommand


class Command(InterruptibleCommand):
    help = "Fill the demo shop: about 80 products, their pictures from two public packages."

    def handle(self, *args: Any, **options: Any) -> None:
        with ProgressBar("Loading the catalogue", sys.stderr) as progress:
            report = seed(progress)
        for message in report.messages:
            self.stderr.write(self.style.WARNING(message))
        self.stdout.write(f"{report.products} products in the shop, {report.created} of them new.")
