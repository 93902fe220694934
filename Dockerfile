# Debian, since every dependency has a wheel for it: nothing is compiled.
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends tzdata wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin oneapi \
    && install --directory --owner=oneapi --group=oneapi /data

WORKDIR /opt/oneapi
ENV PATH=/opt/oneapi/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1

# The dependencies first: they change less often than the program.
COPY requirements-hashed.txt ./
RUN python -m venv .venv && pip install --no-cache-dir --require-hashes --requirement requirements-hashed.txt

COPY . ./
RUN pip install --no-cache-dir --no-deps --editable . && python -m compileall -q oneapi migrations

USER oneapi
WORKDIR /data
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
    CMD wget --quiet --output-document=- "http://localhost:${PORT:-3000}/healthz" || exit 1
ENTRYPOINT ["oneapi"]
