//! Runs a filter as the kernel does, for tests.

use super::SockFilter;
use super::assemble::{AND, JUMP, JUMP_EQ, JUMP_GE, JUMP_GT, LOAD, RETURN};

/// `BPF_JMP | BPF_JSET | BPF_K`, which libseccomp may use.
const JUMP_SET: u16 = 0x45;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub struct SeccompData {
    pub number: u32,
    pub audit: u32,
    pub arguments: [u64; 6],
}

impl SeccompData {
    fn word(&self, offset: u32) -> u32 {
        let argument = |offset: u32| {
            let value = self.arguments[(offset as usize - 16) / 8];
            let is_high = (offset % 8 == 4) == cfg!(target_endian = "little");
            if is_high { (value >> 32) as u32 } else { value as u32 }
        };
        match offset {
            0 => self.number,
            4 => self.audit,
            16..=60 if offset.is_multiple_of(4) => argument(offset),
            _ => panic!("a load from {offset}"),
        }
    }
}

/// The value that `program` returns for `data`, and the number of executed instructions.
pub fn run(program: &[SockFilter], data: &SeccompData) -> (u32, usize) {
    trace(program, data, |_| {})
}

/// As [`run`]. `visit` is called for each executed instruction.
pub fn trace(
    program: &[SockFilter],
    data: &SeccompData,
    mut visit: impl FnMut(usize),
) -> (u32, usize) {
    let (mut at, mut loaded, mut steps) = (0, 0_u32, 0);
    loop {
        visit(at);
        let SockFilter { code, jt, jf, k } = program[at];
        at += 1;
        steps += 1;
        let holds = match code {
            RETURN => return (k, steps),
            LOAD => {
                loaded = data.word(k);
                continue;
            }
            AND => {
                loaded &= k;
                continue;
            }
            JUMP => {
                at += k as usize;
                continue;
            }
            JUMP_EQ => loaded == k,
            JUMP_GT => loaded > k,
            JUMP_GE => loaded >= k,
            JUMP_SET => loaded & k != 0,
            _ => panic!("instruction {code:#x}"),
        };
        at += usize::from(if holds { jt } else { jf });
    }
}
