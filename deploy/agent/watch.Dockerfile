# Server and agent in one container, for watch mode: docker build -f deploy/agent/watch.Dockerfile -t windlass .
ARG RUST_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release -p windlass

FROM ${BASE_IMAGE}
# To ask registries over TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/* \
    # The image's time zone is nobody's: the agent would tell it as the device's.
    && rm -f /etc/timezone /etc/localtime
COPY --from=build /src/target/release/windlass /usr/local/bin/windlass
VOLUME /data
ENTRYPOINT ["windlass"]
CMD ["up", "--agent", "--data", "/data", "--listen", "0.0.0.0:8080", "--key-file", "/data/operator.key"]
