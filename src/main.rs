//! The `orlop` program: see the library's documentation for how it works.

fn main() -> std::process::ExitCode {
    orlop::cli::main()
}
