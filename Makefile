# `make run` shows a container, `make test` runs every test, `make soak` what takes long in full, `make test-vm` real
# callers in a machine of their own, `make check` everything that needs no container, `make quick` what one wants to know
# before every commit.

HOST    := $(shell rustc -vV | sed -n 's/^host: //p')
# The program is linked with musl where rustup has its target, which is faster (docs/portability.md), and with glibc else.
# LIBC=gnu or LIBC=musl decides.
MUSL    := $(subst -gnu,-musl,$(HOST))
LIBC    ?= $(if $(wildcard $(shell rustc --print target-libdir --target $(MUSL) 2>/dev/null)),musl,gnu)
BUILD   := $(if $(filter musl,$(LIBC)),$(MUSL),$(HOST))
TARGET  := $(or $(CARGO_TARGET_DIR),target)
ORLOP   := $(abspath $(TARGET)/$(BUILD)/release/orlop)
IMAGE   := $(abspath $(TARGET)/image/orlop-image)
SHIM    := $(abspath $(TARGET)/$(BUILD)/release/containerd-shim-orlop-v2)
PREFIX  ?= /usr/local
RUNTIME ?= $(ORLOP)
export RUNTIME

.PHONY: build musl cross cross-check cross-run packages packages-test packages-reproducible run test differences soak soak-shim test-vm fuzz docs check quick bench bench-memory install clean

# A static program: with --target the flag is not for proc-macros and build scripts, which cannot be static.
build:
	integration/packages.sh gcc libc6-dev
	@echo "linking with $(LIBC) (LIBC=gnu or LIBC=musl decides; make musl where there is no musl)"
	RUSTFLAGS="$$RUSTFLAGS -C target-feature=+crt-static" cargo build --release --locked --target $(BUILD) -p orlop -p orlop-shim
	cargo build --profile image --locked -p orlop-image

# The program with musl: by rustup's target if it is there or can be had, else by a standard library that is built from
# Debian's rust-src. The last line says where it is.
musl:
	rustup target add $(MUSL) 2>/dev/null && $(MAKE) build LIBC=musl && echo "$(TARGET)/$(MUSL)/release/orlop" || \
		{ CRATES=orlop integration/cross.sh $(TARGET)/cross build $(MUSL) && echo "$(TARGET)/cross/out/$(MUSL)/orlop"; }

# The programs for all other architectures, in target/cross/out/. cross-run makes containers with each, under QEMU, with a
# kernel of Debian. cross-check is cargo check for three that differ most.
cross:
	integration/cross.sh $(TARGET)/cross build $$(. integration/cross/targets.sh && echo $$ALL_TARGETS)

cross-run: cross
	integration/cross.sh $(TARGET)/cross run $$(. integration/cross/targets.sh && echo $$ALL_TARGETS)

cross-check:
	integration/cross.sh $(TARGET)/cross check \
		aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf s390x-unknown-linux-gnu

# .deb, .rpm, static tarballs, SBOMs and sums for amd64 and arm64, in target/packages. packages-test installs those for
# amd64 in fresh Debian systems, over OLDER (orlop's .deb of the version before) if that is given; packages-reproducible
# builds those for amd64 of the last commit twice and compares.
packages:
	integration/release/build.sh $(TARGET) amd64 arm64

packages-test:
	integration/release/test.sh $(TARGET)

packages-reproducible:
	integration/release/reproducible.sh $(TARGET)/reproducible

run: build
	integration/packages.sh busybox-static
	integration/demo/run.sh $(ORLOP) $(TARGET)

IMAGE_JUDGES := umoci attr docker-registry skopeo openssl apache2-utils iproute2

# Once as the machine is, once more with nothing but cgroup v2, and those of the seal with a program that begins in the C
# library. Without the ignored signals of a shell in the background, which containers would inherit.
test: build
	integration/packages.sh busybox-static iproute2 jq libseccomp-dev pkg-config util-linux $(if $(filter runc,$(notdir $(RUNTIME))),runc)
	env --default-signal cargo test --locked
	$(if $(filter runc,$(notdir $(RUNTIME))),env --default-signal integration/differences.sh $(RUNTIME))
	integration/packages.sh $(FUZZ_NEEDS)
	fuzz/run.sh 8
	env --default-signal integration/cgroup-v2.sh cargo test --locked --test main
	env --default-signal integration/libc-entry.sh $(TARGET)
	integration/packages.sh $(IMAGE_JUDGES)
	ORLOP=$(ORLOP) env --default-signal cargo test --locked -p orlop-image
	integration/packages.sh e2fsprogs fuse3 fuse-overlayfs
	env --default-signal cargo test --locked -p orlop-shim
	integration/packages.sh containerd
	env --default-signal integration/shim/containerd.sh $(SHIM)

# Each difference from runc that tests/support/differences names must still be one.
RUNC ?= runc
differences:
	integration/packages.sh busybox-static iproute2 jq libseccomp-dev pkg-config util-linux $(if $(findstring /,$(RUNC)),,runc)
	env --default-signal integration/differences.sh $(RUNC)

# What `make test` only samples, in full: the runtime killed at every system call, ten thousand containers, races of
# minutes. Nothing else should run meanwhile.
SOAK := killed:: faults:: hung:: concurrency:: soak:: leaks:: attack_
soak: build
	integration/packages.sh busybox-static iproute2 jq libseccomp-dev pkg-config util-linux
	ORLOP_SOAK=1 env --default-signal cargo test --locked --test main -- --nocapture --test-threads=1 $(SOAK)

# The shim of one pod under containerd's CRI plugin: 20,000 execs in it, 1,000 other pods, containerd restarted every
# minute. The shim's memory, descriptors and zombies must be flat. PODS and EXECS for less.
soak-shim: build
	integration/packages.sh containerd busybox-static
	env --default-signal integration/shim/soak.sh $(SHIM) $(TARGET)/cri-api

# The callers (containerd, its CRI plugin, Docker, Podman) and the containers' tests in a Debian machine of its own, with
# systemd and cgroup v2 alone. JOBS="ctr:orlop cri:runc" for some of it. ARCH=arm64 for the containers' tests on that
# architecture, with programs built by cross.sh.
test-vm: $(if $(filter arm64,$(ARCH)),,build)
	integration/test-vm/run.sh $(ORLOP) $(TARGET) $(JOBS)

check:
	integration/packages.sh gcc libc6-dev libseccomp-dev pkg-config
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --lib -- -D warnings --cfg fuzzing
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps -p orlop-image
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps -p orlop-shim --document-private-items
	integration/house-rules.sh
	$(MAKE) docs

# The manual, in target/book, and each link in it that leads to another place in it. Its examples are tests
# (tests/manual.rs).
docs:
	integration/packages.sh python3
	"$$(integration/mdbook.sh)" build docs --dest-dir $(abspath $(TARGET)/book)
	python3 integration/links.py $(TARGET)/book *.md $$(find docs -name '*.md')

# Two minutes, and neither root nor the network once the packages are installed. The tests are those that make no
# container.
quick:
	integration/packages.sh gcc libc6-dev libseccomp-dev pkg-config
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	integration/house-rules.sh
	cargo test --locked --quiet --lib
	cargo test --locked --quiet --test main -- layers:: field_map:: spec_rows:: security_rows:: every_difference_is_used \
		manual::generated manual::every_
	cargo test --locked --quiet --lib -p orlop-image -p orlop-shim

# What reads bytes of others gets every input that libFuzzer can think of, for so many seconds each.
SECONDS ?= 600
FUZZ_NEEDS := gcc g++ libc6-dev
fuzz:
	integration/packages.sh $(FUZZ_NEEDS)
	fuzz/run.sh $(SECONDS)

# Ratios are what counts; see docs/performance.md. Where the program is linked with musl, it has a row with glibc, too.
bench: export BEFORE := $(BEFORE)
bench: export GLIBC := $(if $(filter musl,$(LIBC)),$(abspath $(TARGET)/$(HOST)/release/orlop))
bench: build
	$(if $(GLIBC),RUSTFLAGS="$$RUSTFLAGS -C target-feature=+crt-static" cargo build --release --locked --target $(HOST) -p orlop)
	integration/bench/bench.sh $(ORLOP) $(TARGET)/bench
	integration/bench/image.sh $(ORLOP) $(IMAGE) $(TARGET)/bench/image
	integration/packages.sh containerd crun runc busybox-static
	integration/bench/shim.sh $(ORLOP) $(SHIM) $(TARGET)/bench/shim
	integration/bench/cri.sh $(ORLOP) $(SHIM) $(TARGET)/cri-api

bench-memory: build
	integration/bench/bench.sh $(ORLOP) $(TARGET)/bench memory

PAGES := $(abspath $(TARGET)/pages)
SHARE := $(DESTDIR)$(PREFIX)/share
# The completions are orlop's. The shim has none, because containerd runs it and nobody types its name.
install: build
	rm -rf $(PAGES)
	cargo run --locked --quiet --example pages -- $(PAGES)
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $(ORLOP) $(IMAGE) $(SHIM)
	install -D -m 0644 -t $(SHARE)/man/man8 $(PAGES)/*.8 crates/shim/containerd-shim-orlop-v2.8
	install -D -m 0644 $(PAGES)/orlop.bash $(SHARE)/bash-completion/completions/orlop
	install -D -m 0644 -t $(SHARE)/zsh/site-functions $(PAGES)/_orlop
	install -D -m 0644 -t $(SHARE)/fish/vendor_completions.d $(PAGES)/orlop.fish

clean:
	cargo clean
