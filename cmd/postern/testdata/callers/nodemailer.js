const nodemailer = require(process.env.POSTERN_MAIL_PARSERS + '/node_modules/nodemailer');
nodemailer.createTransport({ sendmail: true, path: '/usr/sbin/sendmail' }).sendMail({
  from: 'ops@example.com', to: 'ann@example.org', bcc: 'hidden@example.org', subject: 'Grüße of nodemailer', text: 'one\n.\ntwo',
}).catch((e) => { console.error(e); process.exit(1); });
