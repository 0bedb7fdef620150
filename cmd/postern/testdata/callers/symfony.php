<?php
require '/usr/share/php/Symfony/Component/Mailer/autoload.php';
$mail = (new Symfony\Component\Mime\Email())->from('ops@example.com')->to('ann@example.org')->bcc('hidden@example.org')
    ->subject('Grüße of '.$argv[1])->text("one\n.\n..\ntwo");
(new Symfony\Component\Mailer\Transport\SendmailTransport($argv[2] ?? null))->send($mail);
