//! The system calls: one table of all names, with their numbers per calling convention.
//!
//! The numbers are in `calls.txt`. A hash table is made from it at compile time. So a name in a
//! profile is looked up once for all architectures, and the program needs no relocations for the
//! table when it starts.

use super::arch::{Arch, Column};

/// The table as text: a row for each call, a column for each variant of [`Column`].
const FILE: &[u8] = include_bytes!("calls.txt");

const COLUMNS: usize = Column::Ipc as usize + 1;
/// The private calls of ARM begin at this number. In a row they are numbers from `PRIVATE_BIT` on.
const PRIVATE: u32 = 0x000f_0000;
const PRIVATE_BIT: u16 = 0x8000;
/// In a row: the architecture does not have the call. In a slot: there is no row.
const ABSENT: u16 = u16::MAX;
/// About twice the number of names, and a power of two.
const SLOTS: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct SyscallRow {
    start: u16,
    length: u16,
    numbers: [u16; COLUMNS],
}

/// The table while it is built at compile time, with space for more rows.
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

    /// The name of the call.
    #[must_use]
    pub fn name(self) -> &'static str {
        let SyscallRow { start, length, .. } = ROWS[usize::from(self.0)];
        let bytes = &TEXT[usize::from(start)..usize::from(start + length)];
        // The bytes were a `str` when the table was built.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The number on `arch`, as a filter sees it. `None` if the architecture has no such call.
    #[must_use]
    pub fn number(self, arch: Arch) -> Option<u32> {
        match ROWS[usize::from(self.0)].numbers[arch.column() as usize] {
            ABSENT => None,
            private if private & PRIVATE_BIT != 0 => {
                Some(PRIVATE | u32::from(private & !PRIVATE_BIT))
            }
            number => Some(arch.base() + u32::from(number)),
        }
    }

    /// The call that includes this one on an architecture that [multiplexes](Arch::is_multiplexed),
    /// and the value of its first argument that selects this one.
    #[must_use]
    pub fn carrier(self) -> Option<(Self, u16)> {
        let numbers = &ROWS[usize::from(self.0)].numbers;
        match (numbers[Column::Socketcall as usize], numbers[Column::Ipc as usize]) {
            (ABSENT, ABSENT) => None,
            (ABSENT, selector) => Some((IPC, selector)),
            (selector, _) => Some((SOCKETCALL, selector)),
        }
    }

    /// All calls of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map(Self).take(ROWS.len())
    }
}

/// The row of a name that must be in the table.
const fn row_of(name: &str) -> Syscall {
    let mut row = 0;
    while row < DRAFT.row_count {
        let SyscallRow { start, length, .. } = DRAFT.rows[row];
        if equal(DRAFT.text.split_at(start as usize).1.split_at(length as usize).0, name.as_bytes())
        {
            return Syscall(row as u16);
        }
        row += 1;
    }
    panic!("no such call")
}

/// FNV-1a, reduced to a slot.
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

/// The words of `calls.txt`, one after the other.
struct Words {
    at: usize,
}

impl Words {
    /// The next word, as the offsets of its beginning and its end in the file. Empty at the end of
    /// the file.
    const fn next(&mut self) -> (usize, usize) {
        while self.at < FILE.len() && matches!(FILE[self.at], b' ' | b'\n') {
            self.at += 1;
        }
        let start = self.at;
        while self.at < FILE.len() && !matches!(FILE[self.at], b' ' | b'\n') {
            self.at += 1;
        }
        (start, self.at)
    }

    const fn skip_line(&mut self) {
        while self.at < FILE.len() && FILE[self.at] != b'\n' {
            self.at += 1;
        }
    }

    /// A number, or `-` for none.
    const fn number(&mut self) -> u16 {
        let (mut at, end) = self.next();
        assert!(at < end, "a row of calls.txt lacks a column");
        if FILE[at] == b'-' {
            return ABSENT;
        }
        let mut number = 0_u32;
        while at < end {
            assert!(FILE[at].is_ascii_digit(), "calls.txt: not a number");
            number = number * 10 + (FILE[at] - b'0') as u32;
            at += 1;
        }
        if number >= PRIVATE {
            return (number - PRIVATE) as u16 | PRIVATE_BIT;
        }
        assert!(number < PRIVATE_BIT as u32, "calls.txt: a number that is too large");
        number as u16
    }
}

/// Reads `calls.txt`.
const fn draft() -> TableDraft {
    let mut draft = TableDraft {
        text: [0; 16 * 1024],
        text_length: 0,
        rows: [SyscallRow { start: 0, length: 0, numbers: [ABSENT; COLUMNS] }; SLOTS],
        row_count: 0,
        slots: [ABSENT; SLOTS],
    };
    let mut words = Words { at: 0 };
    loop {
        let (start, end) = words.next();
        if start == end {
            return draft;
        }
        if FILE[start] == b'#' {
            words.skip_line();
            continue;
        }
        let row = draft.add(start, end);
        let mut column = 0;
        while column < COLUMNS {
            draft.rows[row].numbers[column] = words.number();
            column += 1;
        }
    }
}

impl TableDraft {
    /// The row for the name at `start..end` of the file.
    const fn add(&mut self, start: usize, end: usize) -> usize {
        let name = FILE.split_at(end).0.split_at(start).1;
        let mut slot = hash(name);
        while self.slots[slot] != ABSENT {
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
