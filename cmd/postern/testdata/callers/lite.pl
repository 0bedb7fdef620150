use MIME::Lite;
my $mail = MIME::Lite->new(From => 'ops@example.com', To => 'ann@example.org', Bcc => 'hidden@example.org',
    Subject => 'of MIME::Lite', Data => "one\n.\ntwo");
MIME::Lite->send('sendmail', '/usr/sbin/sendmail', SetSender => 1);
$mail->send or die;
