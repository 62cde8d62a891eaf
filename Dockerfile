# The demo shop and everything it needs; docker-compose.yml says how its processes are started.
FROM python:3.11-slim

# PyPI's torch for Linux brings several gigabytes for graphics cards. The index that torch's own site names for processors,
# given here (docker compose build --build-arg PIP_EXTRA_INDEX_URL=...), saves them.
ARG PIP_EXTRA_INDEX_URL=""

# The C library keeps what decoded photos and the model's tensors took unless it is told to give large blocks back.
ENV MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_TRIM_THRESHOLD_=1048576
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# The dependencies first: they change seldom, and this layer is the large one.
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY imagesim/__init__.py imagesim/
RUN pip install --constraint constraints.txt --editable ".[demo]"

COPY manage.py ./
COPY imagesim imagesim
COPY demo_shop demo_shop

# Nothing here runs as root. The folders that volumes are mounted on take their owner along.
RUN useradd --create-home shop && install --directory --owner shop /media
USER shop
# The model in the box is put together once, here, and not at the first search of every container.
RUN python manage.py shell --verbosity 0 --command "from imagesim.embedders import get_embedder; get_embedder().warm_up()"

EXPOSE 8000
CMD ["gunicorn", "demo_shop.wsgi", "--config", "python:imagesim.warm_up", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "4", "--timeout", "60"]
