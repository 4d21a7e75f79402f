# Needs BuildKit (Docker's default since 23.0) or Buildah, for the cache mounts.

# The library with which join pages reach LiveKit nodes, from npm.
FROM node:22-bookworm AS livekit-client
COPY deploy/fetch-livekit-client /usr/local/bin/
RUN fetch-livekit-client /out

FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
# The registry and the compiled dependencies stay in the builder's caches, so a source change compiles only this crate.
# Cargo detects stale files by timestamp, and a checkout's may be older than the cached build, hence the touch.
# Rust code compiles the protos, and this image's C compiler builds SQLite and AWS-LC; nothing else is needed.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/build/target,sharing=locked \
    find build.rs proto src web -type f -exec touch {} + \
    && cargo build --locked --release --bin video-session \
    && install -D -m 0755 target/release/video-session /out/video-session \
    && mkdir /out/data

# glibc, libgcc, CA certificates (for mongodb+srv:// and OTLP over TLS) and a user; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/video-session /usr/local/bin/video-session
COPY --from=livekit-client /out /usr/local/share/livekit-client
# The only directory that the service writes to. A new volume mounted here gets its owner.
COPY --from=build --chown=65532:65532 /out/data /var/lib/video-session
VOLUME /var/lib/video-session

# By number, so that Kubernetes can verify that it is not root.
USER 65532:65532
# In a container, metrics and JWKS on loopback would be unreachable from outside.
ENV DATA_DIR=/var/lib/video-session \
    ADMIN_ADDR=0.0.0.0:9464 \
    LIVEKIT_CLIENT_DIR=/usr/local/share/livekit-client \
    LOG_FORMAT=json
# gRPC; metrics and JWKS; the join page.
EXPOSE 50051 9464 4000

# Liveness, checked by the binary itself because there is no shell. Kubernetes ignores this and uses its own probes.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/video-session", "healthcheck"]
# Starts the drain. Allow DRAIN_DELAY_SECS + DRAIN_TIMEOUT_SECS before a kill (docker stop --timeout 30).
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/video-session"]
CMD ["serve"]
