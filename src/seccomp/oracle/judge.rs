//! Calls libseccomp as runc does.

use std::io::{Read as _, Seek as _};

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};

use crate::seccomp::{Action, Arch, Comparison, Operator, Profile, Rule, SockFilter, Syscall};

fn scmp_arch(arch: Arch) -> ScmpArch {
    match arch {
        Arch::X86_64 => ScmpArch::X8664,
        Arch::X86 => ScmpArch::X86,
        Arch::X32 => ScmpArch::X32,
        Arch::Aarch64 => ScmpArch::Aarch64,
        Arch::Arm => ScmpArch::Arm,
        Arch::Mips => ScmpArch::Mips,
        Arch::Mips64 => ScmpArch::Mips64,
        Arch::Mips64N32 => ScmpArch::Mips64N32,
        Arch::Mipsel => ScmpArch::Mipsel,
        Arch::Mipsel64 => ScmpArch::Mipsel64,
        Arch::Mipsel64N32 => ScmpArch::Mipsel64N32,
        Arch::Ppc => ScmpArch::Ppc,
        Arch::Ppc64 => ScmpArch::Ppc64,
        Arch::Ppc64Le => ScmpArch::Ppc64Le,
        Arch::Riscv64 => ScmpArch::Riscv64,
        Arch::S390 => ScmpArch::S390,
        Arch::S390x => ScmpArch::S390X,
        Arch::Loongarch64 => ScmpArch::Loongarch64,
    }
}

fn scmp_action(action: Action) -> ScmpAction {
    match action {
        Action::KillThread => ScmpAction::KillThread,
        Action::KillProcess => ScmpAction::KillProcess,
        Action::Trap => ScmpAction::Trap,
        Action::Errno(number) => ScmpAction::Errno(i32::from(number)),
        Action::Trace(number) => ScmpAction::Trace(number),
        Action::Allow => ScmpAction::Allow,
        Action::Log => ScmpAction::Log,
        Action::Notify => ScmpAction::Notify,
    }
}

fn scmp_comparison(comparison: &Comparison) -> ScmpArgCompare {
    let Comparison { argument, operator, value, value_two } = *comparison;
    let (operator, value) = match operator {
        Operator::Ne => (ScmpCompareOp::NotEqual, value),
        Operator::Lt => (ScmpCompareOp::Less, value),
        Operator::Le => (ScmpCompareOp::LessOrEqual, value),
        Operator::Eq => (ScmpCompareOp::Equal, value),
        Operator::Ge => (ScmpCompareOp::GreaterEqual, value),
        Operator::Gt => (ScmpCompareOp::Greater, value),
        Operator::MaskedEq => (ScmpCompareOp::MaskedEqual(value), value_two),
    };
    ScmpArgCompare::new(u32::from(argument), operator, value)
}

/// The program that libseccomp makes of the profile.
pub fn libseccomp_program(
    profile: &Profile,
) -> Result<Vec<SockFilter>, libseccomp::error::SeccompError> {
    let mut context = ScmpFilterContext::new(scmp_action(profile.default))?;
    for arch in &profile.architectures {
        context.add_arch(scmp_arch(*arch))?;
    }
    for Rule { calls, action, comparisons } in &profile.rules {
        if *action == profile.default {
            continue;
        }
        let all: Vec<ScmpArgCompare> = comparisons.iter().map(scmp_comparison).collect();
        let is_repeated =
            (0..6).any(|at| comparisons.iter().filter(|one| one.argument == at).count() > 1);
        for call in calls {
            let Ok(number) = ScmpSyscall::from_name(call.name()) else { continue };
            for together in all.chunks(if is_repeated { 1 } else { all.len().max(1) }) {
                context.add_rule_conditional(scmp_action(*action), number, together)?;
            }
            if all.is_empty() {
                context.add_rule(scmp_action(*action), number)?;
            }
        }
    }
    let mut file = tempfile::tempfile().unwrap();
    context.export_bpf(&file)?;
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let insn = |chunk: &[u8]| SockFilter {
        code: u16::from_ne_bytes([chunk[0], chunk[1]]),
        jt: chunk[2],
        jf: chunk[3],
        k: u32::from_ne_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]),
    };
    Ok(bytes.chunks_exact(8).map(insn).collect())
}

/// Whether libseccomp has the call. Distributions ship versions that are years older than the
/// kernel.
pub fn is_known_to_libseccomp(call: Syscall) -> bool {
    ScmpSyscall::from_name(call.name()).is_ok()
}

/// The number of the call in libseccomp. `None` if it has no number, and for calls that may go
/// through `socketcall` or `ipc`, which have negative numbers there.
pub fn libseccomp_number(call: Syscall, arch: Arch) -> Option<u32> {
    let number = ScmpSyscall::from_name_by_arch(call.name(), scmp_arch(arch)).ok()?;
    u32::try_from(i32::from(number)).ok()
}
