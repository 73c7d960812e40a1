"""Write a mail as authsvc does, and send it to the catcher."""

from email.message import EmailMessage

import aiosmtplib

from authsvc.dev.catcher import MailCatcher

TEXT = "Your verification code is 123456\n"


def mail(to: str = "jane@example.com", subject: str = "Your verification code", text: str = TEXT) -> EmailMessage:
    """Return a mail as authsvc sends it: text and HTML."""
    message = EmailMessage()
    message["From"] = "authsvc <no-reply@example.com>"
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = "<one@example.com>"
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    return message


async def send(catcher: MailCatcher, message: EmailMessage | bytes, *recipients: str) -> None:
    """Send the mail by SMTP to the recipients, or to those it names."""
    await aiosmtplib.send(
        message,
        sender="no-reply@example.com",
        recipients=recipients or None,
        hostname=catcher.host,
        port=catcher.port,
        timeout=5,
    )
