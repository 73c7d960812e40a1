# One image for the server and everything around it: `serve`, `migrate`, `healthcheck`, `keys`, and for trials the mail
# catcher and the demo. docs/deploy.md tells how to run it, compose.yaml shows it.

# Both stages must share one interpreter: the environment made in the first points to it. To build from a mirror or to
# pin a digest: --build-arg BASE=...
ARG BASE=python:3.11-slim-bookworm


FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv --without-pip /opt/authsvc \
    && python -m venv --without-pip /opt/hatchling
COPY requirements.lock requirements-build.lock ./
# Wheels only, with the hashes of the lock files: nothing is compiled, and no package runs code of its own in here.
RUN pip --python /opt/authsvc/bin/python install --no-cache-dir --no-compile --only-binary :all: --require-hashes \
        --requirement requirements.lock \
    && pip --python /opt/hatchling/bin/python install --no-cache-dir --only-binary :all: --require-hashes \
        --requirement requirements-build.lock
COPY LICENSE README.md pyproject.toml ./
COPY authsvc authsvc
COPY migrations migrations
# Bytecode that is never checked against its source: the final image is read-only, and its commands start often.
RUN pip --python /opt/hatchling/bin/python wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/authsvc/bin/python install --no-cache-dir --no-compile --no-deps dist/*.whl \
    && /opt/authsvc/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/authsvc/lib


FROM ${BASE}
LABEL org.opencontainers.image.title="authsvc" \
      org.opencontainers.image.description="A self-hosted authentication service over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/authsvc /opt/authsvc
ENV PATH=/opt/authsvc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AUTHSVC_SERVER_HOST=0.0.0.0 \
    AUTHSVC_SERVER_METRICS_HOST=0.0.0.0
# The folder is where compose.yaml mounts the volume with the master keys: a new volume takes over its owner and mode.
RUN groupadd --gid 10001 authsvc \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/authsvc --shell /usr/sbin/nologin authsvc \
    && install --directory --owner authsvc --group authsvc --mode 0700 /var/lib/authsvc
# The base image has no bytecode of the standard library; it would be compiled at every start, at four times the start-up
# time. Asking for help makes what each command imports, and shows that all of it is here.
RUN for command in serve migrate healthcheck keys admin admin-keys audit mail init catcher demo; do \
        authsvc "$command" --help >/dev/null || exit 1; \
    done \
    && pip uninstall --quiet --yes --root-user-action ignore setuptools wheel pip
WORKDIR /var/lib/authsvc
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["authsvc", "healthcheck"]
ENTRYPOINT ["authsvc"]
CMD ["serve"]
