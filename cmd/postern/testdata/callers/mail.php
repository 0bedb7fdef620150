<?php
exit(mail('ann@example.org', 'Grüße of php', "one\r\n.\r\ntwo\nthree", "From: ops@example.com\r\nBcc: hidden@example.org", '-fops@example.com') ? 0 : 1);
