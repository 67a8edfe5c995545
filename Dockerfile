# syntax=docker/dockerfile:1
# Both stages are of one Debian release, so that they have one C library.
FROM rust:1.95-trixie AS build
WORKDIR /source
COPY . .
# Queries are checked against .sqlx, so the build needs no database. Names of functions stay in the binary: panics in the log name them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    SQLX_OFFLINE=true cargo build --release --locked --bin quittance \
 && strip --strip-debug -o /quittance target/release/quittance

FROM debian:trixie-slim
# Nodes and receivers of webhooks are trusted by the system's certificates.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /quittance /usr/local/bin/quittance
# A number, so that Kubernetes can see that it is not root. Nothing is written to disk: the ledger is an external database.
USER 65532:65532
EXPOSE 4020 4021 9464
ENTRYPOINT ["quittance"]
CMD ["serve", "--config", "/etc/quittance/quittance.toml"]
