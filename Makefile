# Thin: the work, and what it says while it works, is in scripts/.
.PHONY: help run test check release bench soak clean

help:
	@echo "make run      the page on http://127.0.0.1:8080, with a back end on embedded engines"
	@echo "make test     every test there is"
	@echo "make check    formatting, lints, licences"
	@echo "make release  one binary that carries the page: target/release/freshet"
	@echo "make bench    measurements"
	@echo "make soak     kills, elections and a page under load, for long; fails where a promise is broken"
	@echo "make clean    removes what was built here (tools stay in the cache)"

run:
	@scripts/run.sh

test:
	@scripts/test.sh

check:
	@scripts/check.sh

release:
	@scripts/release.sh

bench:
	@scripts/bench.sh

soak:
	@scripts/soak.sh

clean:
	rm -rf target frontend/dist
