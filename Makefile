# make -j8, make install, make check ... after ./configure. The work is ninja's, in build/.
BUILD ?= build
NINJA ?= ninja

# Hands -j, -l, -k and V=1 on to ninja, which otherwise chooses for itself.
NINJAFLAGS = $(if $(V),-v) $(if $(findstring k,$(firstword -$(MAKEFLAGS))),-k0) \
    $(filter-out -j,$(lastword -j1 $(filter -l% -j%,$(MAKEFLAGS))))

.PHONY: all install check clean distclean
all: $(BUILD)/build.ninja
	+@$(NINJA) -C $(BUILD) $(NINJAFLAGS)

install: all
	+@DESTDIR="$(DESTDIR)" meson install -C $(BUILD) --no-rebuild

check: all
	+@meson test -C $(BUILD) --print-errorlogs

clean: $(BUILD)/build.ninja
	+@$(NINJA) -C $(BUILD) -t clean

distclean:
	rm -rf $(BUILD)

$(BUILD)/build.ninja:
	@echo "$(BUILD)/ is not configured: run ./configure first" >&2; exit 1
