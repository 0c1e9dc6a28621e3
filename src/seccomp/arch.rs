//! The architectures that a profile can name: their names in config.json, their values in
//! `seccomp_data.arch`, and the properties that change the code of a filter.

/// An architecture with its calling convention. One kernel can serve several of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Mips,
    Mips64,
    Mips64N32,
    Mipsel,
    Mipsel64,
    Mipsel64N32,
    Ppc,
    Ppc64,
    Ppc64Le,
    Riscv64,
    S390,
    S390x,
    Loongarch64,
}

/// A column of calls.txt, in the order of the file. Both byte orders share a column. The `base` of
/// an architecture is not included in the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Mips,
    Mips64,
    MipsN32,
    Ppc,
    Ppc64,
    Riscv64,
    S390,
    S390x,
    Loongarch64,
    /// Not a number: the first argument of `socketcall` that selects the call.
    Socketcall,
    /// The same for `ipc`.
    Ipc,
}

/// How many bits of an argument a filter compares. x32 passes 64-bit registers, but libseccomp
/// compares only the low halves, and profiles are written for libseccomp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// The low 32 bits.
    Low,
    /// All 64 bits.
    Full,
}

/// The properties of an [`Arch`].
#[derive(Debug)]
struct ArchFacts {
    arch: Arch,
    /// Its name in config.json.
    name: &'static str,
    /// `AUDIT_ARCH_…`, which the kernel puts into `seccomp_data.arch`.
    audit: u32,
    width: Width,
    big_endian: bool,
    /// Its column in the table of system calls, and the offset that is added to those numbers.
    column: Column,
    base: u32,
    /// Whether the calls of sockets and of System V IPC also go through `socketcall` and `ipc`.
    multiplexed: bool,
}

/// `__AUDIT_ARCH_64BIT`.
const BITS_64: u32 = 0x8000_0000;
/// `__AUDIT_ARCH_LE`.
const LITTLE: u32 = 0x4000_0000;
/// `__AUDIT_ARCH_CONVENTION_MIPS64_N32`.
const N32: u32 = 0x2000_0000;
/// Bit 30 distinguishes an x32 call from an x86_64 one: both report `AUDIT_ARCH_X86_64`.
pub const X32_BIT: u32 = 0x4000_0000;

const fn wide(arch: Arch, name: &'static str, audit: u32, column: Column) -> ArchFacts {
    let big_endian = audit & LITTLE == 0;
    ArchFacts {
        arch,
        name,
        audit,
        width: Width::Full,
        big_endian,
        column,
        base: 0,
        multiplexed: false,
    }
}

const fn narrow(arch: Arch, name: &'static str, audit: u32, column: Column) -> ArchFacts {
    ArchFacts { width: Width::Low, ..wide(arch, name, audit, column) }
}

const fn multiplexed(facts: ArchFacts) -> ArchFacts {
    ArchFacts { multiplexed: true, ..facts }
}

const fn from(base: u32, facts: ArchFacts) -> ArchFacts {
    ArchFacts { base, ..facts }
}

/// In the order of [`Arch`]. The low numbers of the audit values are the machine numbers of ELF.
static FACTS: [ArchFacts; 18] = [
    wide(Arch::X86_64, "SCMP_ARCH_X86_64", 62 | BITS_64 | LITTLE, Column::X86_64),
    multiplexed(narrow(Arch::X86, "SCMP_ARCH_X86", 3 | LITTLE, Column::X86)),
    from(X32_BIT, narrow(Arch::X32, "SCMP_ARCH_X32", 62 | BITS_64 | LITTLE, Column::X32)),
    wide(Arch::Aarch64, "SCMP_ARCH_AARCH64", 183 | BITS_64 | LITTLE, Column::Aarch64),
    narrow(Arch::Arm, "SCMP_ARCH_ARM", 40 | LITTLE, Column::Arm),
    from(4000, multiplexed(narrow(Arch::Mips, "SCMP_ARCH_MIPS", 8, Column::Mips))),
    from(5000, wide(Arch::Mips64, "SCMP_ARCH_MIPS64", 8 | BITS_64, Column::Mips64)),
    from(6000, narrow(Arch::Mips64N32, "SCMP_ARCH_MIPS64N32", 8 | BITS_64 | N32, Column::MipsN32)),
    from(4000, multiplexed(narrow(Arch::Mipsel, "SCMP_ARCH_MIPSEL", 8 | LITTLE, Column::Mips))),
    from(5000, wide(Arch::Mipsel64, "SCMP_ARCH_MIPSEL64", 8 | BITS_64 | LITTLE, Column::Mips64)),
    from(
        6000,
        narrow(
            Arch::Mipsel64N32,
            "SCMP_ARCH_MIPSEL64N32",
            8 | BITS_64 | LITTLE | N32,
            Column::MipsN32,
        ),
    ),
    multiplexed(narrow(Arch::Ppc, "SCMP_ARCH_PPC", 20, Column::Ppc)),
    multiplexed(wide(Arch::Ppc64, "SCMP_ARCH_PPC64", 21 | BITS_64, Column::Ppc64)),
    multiplexed(wide(Arch::Ppc64Le, "SCMP_ARCH_PPC64LE", 21 | BITS_64 | LITTLE, Column::Ppc64)),
    wide(Arch::Riscv64, "SCMP_ARCH_RISCV64", 243 | BITS_64 | LITTLE, Column::Riscv64),
    multiplexed(narrow(Arch::S390, "SCMP_ARCH_S390", 22, Column::S390)),
    multiplexed(wide(Arch::S390x, "SCMP_ARCH_S390X", 22 | BITS_64, Column::S390x)),
    wide(Arch::Loongarch64, "SCMP_ARCH_LOONGARCH64", 258 | BITS_64 | LITTLE, Column::Loongarch64),
];

/// Names in the specification for which we have no system call table. runc does not support them
/// either.
static WITHOUT_TABLE: [&str; 5] =
    ["SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_M68K", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB"];

impl Arch {
    /// The architecture that this program is built for.
    pub const NATIVE: Self = native();

    /// Finds an architecture by its name in config.json.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        FACTS.iter().find(|facts| facts.name == name).map(|facts| facts.arch)
    }

    /// Whether the specification has this name, but [`Self::from_name`] does not.
    #[must_use]
    pub fn is_known_without_table(name: &str) -> bool {
        WITHOUT_TABLE.contains(&name)
    }

    /// All architectures, in the order of the enum.
    pub fn all() -> impl Iterator<Item = Self> {
        FACTS.iter().map(|facts| facts.arch)
    }

    fn facts(self) -> &'static ArchFacts {
        &FACTS[self as usize]
    }

    /// The name in config.json.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The value of `seccomp_data.arch`.
    #[must_use]
    pub fn audit(self) -> u32 {
        self.facts().audit
    }

    /// How many bits of an argument are compared.
    #[must_use]
    pub fn width(self) -> Width {
        self.facts().width
    }

    /// Whether the high half of an argument comes first.
    #[must_use]
    pub fn is_big_endian(self) -> bool {
        self.facts().big_endian
    }

    /// Whether sockets and System V IPC also use `socketcall` and `ipc`.
    #[must_use]
    pub fn is_multiplexed(self) -> bool {
        self.facts().multiplexed
    }

    /// Whether the kernel reports an unknown call with the number 0: s390 passes large numbers in a
    /// register, with the number of `setup`, which no program uses.
    #[must_use]
    pub fn hides_unknown_calls_behind_zero(self) -> bool {
        matches!(self, Self::S390 | Self::S390x)
    }

    pub(super) fn column(self) -> Column {
        self.facts().column
    }

    pub(super) fn base(self) -> u32 {
        self.facts().base
    }
}

const fn native() -> Arch {
    let little = cfg!(target_endian = "little");
    if cfg!(target_arch = "x86_64") {
        Arch::X86_64
    } else if cfg!(target_arch = "x86") {
        Arch::X86
    } else if cfg!(target_arch = "aarch64") {
        Arch::Aarch64
    } else if cfg!(target_arch = "arm") {
        Arch::Arm
    } else if cfg!(target_arch = "riscv64") {
        Arch::Riscv64
    } else if cfg!(target_arch = "s390x") {
        Arch::S390x
    } else if cfg!(target_arch = "loongarch64") {
        Arch::Loongarch64
    } else if cfg!(target_arch = "powerpc64") {
        if little { Arch::Ppc64Le } else { Arch::Ppc64 }
    } else if cfg!(target_arch = "powerpc") {
        Arch::Ppc
    } else if cfg!(target_arch = "mips64") {
        if little { Arch::Mipsel64 } else { Arch::Mips64 }
    } else if cfg!(target_arch = "mips") {
        if little { Arch::Mipsel } else { Arch::Mips }
    } else {
        panic!("no system call table for this architecture")
    }
}

#[cfg(test)]
mod tests {
    use super::{Arch, FACTS};

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, facts) in FACTS.iter().enumerate() {
            assert_eq!(facts.arch as usize, index, "{}", facts.name);
            assert_eq!(Arch::from_name(facts.name), Some(facts.arch));
        }
    }

    #[test]
    fn audit_values_are_the_kernels() {
        // linux/audit.h
        let expected: [(Arch, u32); 6] = [
            (Arch::X86_64, 0xc000_003e),
            (Arch::X86, 0x4000_0003),
            (Arch::X32, 0xc000_003e),
            (Arch::Aarch64, 0xc000_00b7),
            (Arch::Arm, 0x4000_0028),
            (Arch::S390x, 0x8000_0016),
        ];
        for (arch, audit) in expected {
            assert_eq!(arch.audit(), audit, "{arch:?}");
        }
    }
}
