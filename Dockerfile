# The program alone, from locked hashes. tests/stories/test_image.py runs these steps outside a container.
#
#   docker run --read-only -v connector:/data -p 8080:8080 --env-file secrets.env connector
#
# The data volume holds config.toml (with `listen = "0.0.0.0:8080"` and an https `public_url`), the key file and the
# database; `connector apikey create NAME` comes before the first start (docs/operations.md).

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements.lock requirements-run.lock ./
RUN python -m venv /opt/tools && /opt/tools/bin/pip install --require-hashes -r requirements.lock
RUN python -m venv /opt/connector && /opt/connector/bin/pip install --require-hashes -r requirements-run.lock
COPY pyproject.toml README.md ./
COPY connector connector
COPY adapters adapters
COPY mappings mappings
RUN /opt/tools/bin/hatchling build -t wheel && /opt/connector/bin/pip install --no-deps dist/*.whl

FROM python:3.11-slim
COPY --from=build /opt/connector /opt/connector
RUN useradd --system --uid 10001 connector && install -d -o connector -m 0700 /data
# Threads that keep arenas of memory to themselves would cost 40 MB for nothing.
ENV PATH=/opt/connector/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2
USER connector
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["connector"]
CMD ["run"]
