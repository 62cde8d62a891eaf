# The demo shop and its dependencies; docker-compose.yml starts its processes.
FROM python:3.11-slim

# PyPI's torch for Linux includes several gigabytes for GPUs. To avoid them, pass the CPU index of torch's own site:
# docker compose build --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL=""

# Makes the C library return the large blocks of decoded photos and tensors to the system.
ENV MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_TRIM_THRESHOLD_=1048576
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# Dependencies first: they rarely change, and this layer is large.
COPY constraints.txt pyproject.toml README.md LICENSE NOTICE ./
COPY imagesim/__init__.py imagesim/
RUN pip install --constraint constraints.txt --editable ".[demo]"

COPY manage.py ./
COPY imagesim imagesim
COPY demo_shop demo_shop

# Nothing runs as root. Volumes inherit the owner of the folders they are mounted on. The models are not in this user's home,
# because Kubernetes may run the image as another user, who has none.
ENV XDG_CACHE_HOME=/opt/cache
RUN useradd --create-home --uid 1000 shop && install --directory --owner shop /media /opt/cache
# By its number, which Kubernetes needs for runAsNonRoot.
USER 1000
# Assemble the built-in models once, instead of at the first search of every container.
RUN python manage.py shell --verbosity 0 --command "from imagesim.embedders import get_embedder; \
    from imagesim.regions import get_region_finder; get_embedder().warm_up(); get_region_finder().warm_up()"

EXPOSE 8000
CMD ["gunicorn", "demo_shop.wsgi", "--config", "python:imagesim.warm_up", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "4", "--timeout", "60", "--no-control-socket"]
