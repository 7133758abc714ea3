"""What people are told of a search: messages to web addresses and by e-mail."""

from tuner.notices.announcements import Announcement, NoticeKind
from tuner.notices.receivers import check_addresses
from tuner.notices.telling import Announcer, announcer

__all__ = ["Announcement", "Announcer", "NoticeKind", "announcer", "check_addresses"]
