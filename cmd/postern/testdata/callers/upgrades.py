# What unattended-upgrades sends when it is done: its own function, without an upgrade before it.
import importlib.machinery, importlib.util, io
loader = importlib.machinery.SourceFileLoader("upgrades", "/usr/bin/unattended-upgrade")
upgrades = importlib.util.module_from_spec(importlib.util.spec_from_loader("upgrades", loader))
loader.exec_module(upgrades)
upgrades.apt_pkg.config.set("Unattended-Upgrade::Mail", "root")
upgrades.apt_pkg.config.set("Unattended-Upgrade::MailReport", "always")
upgrades.send_summary_mail(["postern"], True, "one", {}, [], [], io.StringIO("two\n"), "")
