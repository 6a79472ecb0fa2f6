//! The mail that the demo's users find: three messages each, with LF line ends.
//!
//! Plain text in ASCII, as the backend takes MIME apart for nobody. People and hosts are those of
//! RFC 2606.

/// On backend one.
pub(super) const ALICE: [&str; 3] = [
    "\
Return-Path: <kim@example.org>
Date: Mon, 2 Nov 2026 09:14:05 +0100
From: Kim Okafor <kim@example.org>
To: Alice Moreau <alice@example.com>
Subject: Lunch on Thursday?
Message-ID: <20261102081405.4f1c@mail.example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Hi Alice,

the place by the river is open again. Thursday at noon? Bob would come too,
if his train is on time for once.

Kim
",
    "\
Return-Path: <bob@example.com>
Date: Tue, 3 Nov 2026 16:40:51 +0000
From: Bob Lindqvist <bob@example.com>
To: Alice Moreau <alice@example.com>
Cc: \"Okafor, Kim\" <kim@example.org>
Subject: Re: Lunch on Thursday?
Message-ID: <20261103164051.77aa@mail.example.com>
In-Reply-To: <20261102081405.4f1c@mail.example.org>
References: <20261102081405.4f1c@mail.example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

> Bob would come too, if his train is on time for once.

I take the earlier one. See you there.

Bob
",
    "\
Return-Path: <postmaster@example.com>
Date: Wed, 4 Nov 2026 06:00:00 +0000
From: Postmaster <postmaster@example.com>
To: all-staff: alice@example.com, bob@example.com;
Subject: Your mailbox has moved
Message-ID: <move-1@mail.example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Hello,

last night your mailbox moved to another server. There is nothing for you to
change: your mail program goes on talking to the same address, and the proxy
there knows where your mail is now.

This message is on backend ONE.

Your postmaster
",
];

/// On backend two.
pub(super) const BOB: [&str; 3] = [
    "\
Return-Path: <alice@example.com>
Date: Mon, 2 Nov 2026 11:20:33 +0100
From: Alice Moreau <alice@example.com>
To: Bob Lindqvist <bob@example.com>
Subject: Fwd: Lunch on Thursday?
Message-ID: <20261102102033.0b3e@mail.example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Are you in? Kim does not believe in your train.

Alice
",
    "\
Return-Path: <tickets@rail.example.net>
Date: Tue, 3 Nov 2026 16:31:10 +0000
From: Example Rail <tickets@rail.example.net>
To: Bob Lindqvist <bob@example.com>
Subject: Your booking 7F3-KQ2
Message-ID: <7F3-KQ2@rail.example.net>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Thank you for your booking.

  Thursday, 5 November 2026
  08:52  Northgate       platform 4
  11:17  Riverside       platform 1
  One person, second class, seat 61 (window)

Please have this number at hand: 7F3-KQ2.
",
    "\
Return-Path: <postmaster@example.com>
Date: Wed, 4 Nov 2026 06:00:00 +0000
From: Postmaster <postmaster@example.com>
To: all-staff: alice@example.com, bob@example.com;
Subject: Your mailbox stays where it is
Message-ID: <stay-1@mail.example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Hello,

last night some mailboxes moved to another server. Yours did not, and you
need not know: the proxy does.

This message is on backend TWO.

Your postmaster
",
];
