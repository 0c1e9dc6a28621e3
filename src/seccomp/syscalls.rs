//! System calls by name: one table of all names with their number per calling convention.
//!
//! The numbers are the crate `syscalls`'s and `deltas.rs`'s; the compiler merges them into one hash
//! table, so that a name of a profile is looked up once for all architectures, and so that the
//! table needs neither work nor relocations when the program starts.

use super::arch::Arch;
use super::{deltas, multiplex};

/// A column of the table. Byte orders share one, and the `base` of an architecture is not in the
/// numbers.
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
    /// Not numbers: the first argument of `socketcall` that stands for the call.
    Socketcall,
    /// The same of `ipc`.
    Ipc,
}

const COLUMNS: usize = Column::Ipc as usize + 1;
/// In a row: the architecture does not have the call. In a slot: no row.
const ABSENT: u16 = u16::MAX;
/// About twice the number of names, and a power of two.
const SLOTS: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct SyscallRow {
    start: u16,
    length: u16,
    numbers: [u16; COLUMNS],
}

/// The table while the compiler builds it, with room to spare.
struct TableDraft {
    text: [u8; 16 * 1024],
    text_length: usize,
    rows: [SyscallRow; SLOTS],
    row_count: usize,
    slots: [u16; SLOTS],
}

const DRAFT: TableDraft = draft();
static TEXT: [u8; DRAFT.text_length] = {
    let mut text = [0; DRAFT.text_length];
    text.copy_from_slice(DRAFT.text.split_at(DRAFT.text_length).0);
    text
};
static ROWS: [SyscallRow; DRAFT.row_count] = {
    let mut rows = [DRAFT.rows[0]; DRAFT.row_count];
    rows.copy_from_slice(DRAFT.rows.split_at(DRAFT.row_count).0);
    rows
};
static HASHED: [u16; SLOTS] = DRAFT.slots;

const SOCKETCALL: Syscall = row_of("socketcall");
const IPC: Syscall = row_of("ipc");

/// A system call that at least one architecture has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syscall(u16);

impl Syscall {
    /// Finds a call by its name in the kernel's tables.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let mut slot = hash(name.as_bytes());
        loop {
            let row = HASHED[slot];
            if row == ABSENT {
                return None;
            }
            if Self(row).name().as_bytes() == name.as_bytes() {
                return Some(Self(row));
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let SyscallRow { start, length, .. } = ROWS[usize::from(self.0)];
        let bytes = &TEXT[usize::from(start)..usize::from(start + length)];
        // The bytes were `str`s when the table was built.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Its number on `arch`, as a filter sees it; `None` where the architecture has no such call.
    #[must_use]
    pub fn number(self, arch: Arch) -> Option<u32> {
        match ROWS[usize::from(self.0)].numbers[arch.column() as usize] {
            ABSENT => None,
            private if private & 0x8000 != 0 => Some(0x000f_0000 | u32::from(private & 0x7fff)),
            number => Some(arch.base() + u32::from(number)),
        }
    }

    /// The call that carries this one on an architecture that [multiplexes](Arch::is_multiplexed),
    /// and which first argument stands for this one.
    #[must_use]
    pub fn carrier(self) -> Option<(Self, u16)> {
        let numbers = &ROWS[usize::from(self.0)].numbers;
        match (numbers[Column::Socketcall as usize], numbers[Column::Ipc as usize]) {
            (ABSENT, ABSENT) => None,
            (ABSENT, selector) => Some((IPC, selector)),
            (selector, _) => Some((SOCKETCALL, selector)),
        }
    }

    /// Every call of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map(Self).take(ROWS.len())
    }
}

const fn row_of(name: &str) -> Syscall {
    let mut draft = DRAFT;
    let row = draft.row(name.as_bytes());
    assert!(draft.row_count == DRAFT.row_count, "no such call");
    Syscall(row as u16)
}

/// FNV-1a, down to a slot.
const fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 16)) as usize % SLOTS
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while a.len() == b.len() && at < a.len() && a[at] == b[at] {
        at += 1;
    }
    a.len() == b.len() && at == a.len()
}

impl TableDraft {
    /// The row of `name`, made when there is none.
    const fn row(&mut self, name: &[u8]) -> usize {
        let mut slot = hash(name);
        while self.slots[slot] != ABSENT {
            let row = &self.rows[self.slots[slot] as usize];
            let there = self.text.split_at(row.start as usize).1.split_at(row.length as usize).0;
            if equal(there, name) {
                return self.slots[slot] as usize;
            }
            slot = (slot + 1) % SLOTS;
        }
        let row = self.row_count;
        self.row_count += 1;
        self.slots[slot] = row as u16;
        self.rows[row].start = self.text_length as u16;
        self.rows[row].length = name.len() as u16;
        self.text.split_at_mut(self.text_length).1.split_at_mut(name.len()).0.copy_from_slice(name);
        self.text_length += name.len();
        row
    }

    const fn set(&mut self, column: Column, name: &str, number: u16) {
        let row = self.row(name.as_bytes());
        self.rows[row].numbers[column as usize] = number;
    }

    /// A line of one of the crate's tables, which has its own ideas about a few names.
    const fn set_from_crate(&mut self, column: Column, name: &str, number: u16) {
        let generic64 = matches!(column, Column::Aarch64 | Column::Loongarch64);
        let bytes = name.as_bytes();
        let is_call = match bytes {
            // Holes in the tables of MIPS.
            [b'u', b'n', b'u', b's', b'e', b'd', ..]
            | [b'r', b'e', b's', b'e', b'r', b'v', b'e', b'd', ..] => false,
            // Only 32-bit architectures have the calls with 64-bit times.
            _ => !(generic64 && number >= 403 && number <= 423),
        };
        if !is_call {
            return;
        }
        match bytes {
            // `break` is a word of Rust.
            [b'r', b'#', rest @ ..] => {
                let row = self.row(rest);
                self.rows[row].numbers[column as usize] = number;
            }
            b"fstatat" if generic64 => self.set(column, "newfstatat", number),
            _ => self.set(column, name, number),
        }
    }

    const fn set_all(&mut self, column: Column, list: &[(&str, u16)]) {
        let mut at = 0;
        while at < list.len() {
            self.set(column, list[at].0, list[at].1);
            at += 1;
        }
    }

    const fn remove_all(&mut self, column: Column, list: &[&str]) {
        let mut at = 0;
        while at < list.len() {
            self.set(column, list[at], ABSENT);
            at += 1;
        }
    }

    const fn copy(&mut self, from: Column, to: Column) {
        let mut row = 0;
        while row < self.row_count {
            let number = self.rows[row].numbers[from as usize];
            let is_n32 = matches!(to, Column::MipsN32) && number != ABSENT;
            self.rows[row].numbers[to as usize] =
                if is_n32 { deltas::n32_number(number) } else { number };
            row += 1;
        }
    }
}

/// Copies one table of the crate, whose numbers start at `$base`, into a column.
macro_rules! take {
    ($draft:ident, $column:expr, $module:ident, $base:expr) => {
        let mut id = syscalls::$module::Sysno::first().id();
        while id <= syscalls::$module::Sysno::last().id() {
            if let Some(call) = syscalls::$module::Sysno::new(id as usize) {
                $draft.set_from_crate($column, call.name(), (id - $base) as u16);
            }
            id += 1;
        }
        $draft.set_all($column, &deltas::YOUNG);
    };
}

const fn draft() -> TableDraft {
    let mut draft = TableDraft {
        text: [0; 16 * 1024],
        text_length: 0,
        rows: [SyscallRow { start: 0, length: 0, numbers: [ABSENT; COLUMNS] }; SLOTS],
        row_count: 0,
        slots: [ABSENT; SLOTS],
    };
    take!(draft, Column::X86_64, x86_64, 0);
    take!(draft, Column::X86, x86, 0);
    take!(draft, Column::Aarch64, aarch64, 0);
    take!(draft, Column::Arm, arm, 0);
    take!(draft, Column::Mips, mips, 4000);
    take!(draft, Column::Mips64, mips64, 5000);
    take!(draft, Column::Ppc, powerpc, 0);
    take!(draft, Column::Ppc64, powerpc64, 0);
    take!(draft, Column::Riscv64, riscv64, 0);
    take!(draft, Column::S390x, s390x, 0);
    take!(draft, Column::Loongarch64, loongarch64, 0);
    draft.set_all(Column::Arm, &deltas::ARM);
    draft.set(Column::Mips64, "set_mempolicy_home_node", 450);

    draft.copy(Column::X86_64, Column::X32);
    draft.set_all(Column::X32, &deltas::X32);
    draft.remove_all(Column::X32, &deltas::X32_LACKS);

    draft.copy(Column::Mips64, Column::MipsN32);
    draft.set_all(Column::MipsN32, &deltas::N32);
    draft.set_all(Column::MipsN32, &deltas::TIME64);

    draft.copy(Column::S390x, Column::S390);
    draft.set_all(Column::S390, &deltas::S390);
    draft.set_all(Column::S390, &deltas::TIME64);
    draft.remove_all(Column::S390, &deltas::S390_LACKS);

    draft.set_all(Column::Socketcall, &multiplex::SOCKET);
    draft.set_all(Column::Ipc, &multiplex::IPC);
    draft
}

#[cfg(test)]
mod tests {
    use super::{Arch, Syscall};

    fn number(name: &str, arch: Arch) -> Option<u32> {
        Syscall::from_name(name).and_then(|call| call.number(arch))
    }

    #[test]
    fn every_name_leads_back_to_its_row() {
        for call in Syscall::all() {
            assert_eq!(Syscall::from_name(call.name()), Some(call), "{}", call.name());
        }
        assert_eq!(Syscall::from_name("nonsense"), None);
        assert_eq!(Syscall::from_name(""), None);
    }

    #[test]
    fn numbers_of_every_convention() {
        let expected = [
            ("openat", Arch::X86_64, Some(257)),
            ("openat", Arch::X86, Some(295)),
            ("openat", Arch::X32, Some(0x4000_0101)),
            ("execve", Arch::X32, Some(0x4000_0208)),
            ("openat", Arch::Aarch64, Some(56)),
            ("open", Arch::Aarch64, None),
            ("newfstatat", Arch::Aarch64, Some(79)),
            ("clock_gettime64", Arch::Aarch64, None),
            ("clock_gettime64", Arch::X86, Some(403)),
            ("set_tls", Arch::Arm, Some(0xf0005)),
            ("break", Arch::X86, Some(17)),
            ("openat", Arch::Mipsel, Some(4288)),
            ("openat", Arch::Mips64, Some(5247)),
            ("openat", Arch::Mips64N32, Some(6251)),
            ("openat2", Arch::Mips64N32, Some(6437)),
            ("chown", Arch::S390x, Some(212)),
            ("chown", Arch::S390, Some(182)),
            ("unused18", Arch::Mips, None),
            ("listns", Arch::Riscv64, Some(470)),
        ];
        for (name, arch, expected) in expected {
            assert_eq!(number(name, arch), expected, "{name} {arch:?}");
        }
    }

    #[test]
    fn sockets_and_ipc_are_carried() {
        let carrier = |name| {
            let (carrier, selector) = Syscall::from_name(name).and_then(Syscall::carrier)?;
            Some((carrier.name(), selector))
        };
        assert_eq!(carrier("socket"), Some(("socketcall", 1)));
        assert_eq!(carrier("shmctl"), Some(("ipc", 24)));
        assert_eq!(carrier("read"), None);
        assert_eq!(carrier("ipc"), None);
    }
}
