# One image for the workers, the page, the command line and MLflow's server.
#   docker build -t tuner .
# With a GPU: --build-arg EXTRAS="postgres s3 mlflow-auth gpu"
ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
ARG EXTRAS="postgres s3 mlflow-auth"
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /build
COPY pyproject.toml requirements.lock ./
# uv itself has the lock's hash too; it then checks those of all that it installs.
RUN --mount=type=cache,target=/root/.cache/pip \
    awk '/^[^ ]/ {wanted = /^uv==/} wanted' requirements.lock > uv.txt \
 && pip install --target /opt/uv --require-hashes -r uv.txt
RUN /opt/uv/bin/uv venv --python python /opt/tuner
# Before the source: a change of tuner alone downloads nothing.
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/tuner \
      --constraint requirements.lock -r pyproject.toml $(printf -- '--extra %s ' ${EXTRAS})
COPY README.md LICENSE ./
COPY search_spaces search_spaces
COPY tuner tuner
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/tuner \
      --build-constraint requirements.lock --no-deps .

FROM python:${PYTHON}
COPY --from=build /opt/tuner /opt/tuner
# A new volume gets the owner of the folder that it is mounted on.
RUN useradd --uid 10001 --user-group --home-dir /data tuner \
 && install -d -o tuner -g tuner -m 0750 /data /artifacts
ENV PATH=/opt/tuner/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    TUNER_DATA_HOME=/datasets \
    MLFLOW_DISABLE_TELEMETRY=true
USER 10001:10001
WORKDIR /data
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
  CMD ["python", "-I", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9108/health', timeout=5)"]
ENTRYPOINT ["tuner"]
CMD ["worker", "--health-port", "9108"]
