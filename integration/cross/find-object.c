/* The unwinder of Debian's gcc is made for glibc and asks its _dl_find_object() where the frames of an address are. musl
   has only dl_iterate_phdr(): this is the one in terms of the other, for musl-std.sh. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stddef.h>

struct search {
    ElfW(Addr) address;
    struct dl_find_object *found;
};

static int look(struct dl_phdr_info *info, size_t size, void *data)
{
    struct search *search = data;
    const ElfW(Phdr) *frames = NULL;
    int here = 0;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        ElfW(Addr) start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_GNU_EH_FRAME)
            frames = segment;
        if (segment->p_type == PT_LOAD && search->address >= start && search->address - start < segment->p_memsz) {
            search->found->dlfo_map_start = (void *)start;
            search->found->dlfo_map_end = (void *)(start + segment->p_memsz);
            here = 1;
        }
    }
    if (here)
        search->found->dlfo_eh_frame = frames ? (void *)(info->dlpi_addr + frames->p_vaddr) : NULL;
    return here;
}

int _dl_find_object(void *address, struct dl_find_object *found)
{
    struct search search = { (ElfW(Addr))address, found };

    *found = (struct dl_find_object){ 0 };
    return dl_iterate_phdr(look, &search) && found->dlfo_eh_frame ? 0 : -1;
}
