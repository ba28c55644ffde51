/*
 * The part of CoreFoundation and of Security that kura calls, for tests where
 * there is no Mac. It counts objects, refuses what Security refuses, as far as
 * Apple documents it, and keeps items in files, so that processes share them.
 *
 * A directory, which fake_dir sets, is the system:
 *   NAME.keychain   a keychain: for each item service, account, label and data,
 *                   each after its length; login.keychain is the default one
 *   first.keychain  comes before it in the search list, if there is one
 *   NAME.keychain.locked   it is locked
 *   ui              what the user does with a question: y(es), c(ancel), a
 *                   w(rong password); n: there is no screen; h: nothing yet
 *   asked           as many bytes as there were questions
 *   fail-FUNCTION   the status that the function returns, and " once" if it is
 *                   to do so once
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { CONSTANT, STRING, DATA, DICTIONARY, ARRAY, KEYCHAIN };

/* bytes are of a STRING, DATA or KEYCHAIN; n is their number, or that of the
   values, and keys, of a DICTIONARY or ARRAY. */
typedef struct object {
	int type, references;
	long n;
	char *bytes;
	struct object **keys, **values;
} object;

typedef int32_t status;
enum {
	OK = 0,
	PARAM = -50,
	CANCELED = -128,
	AUTH_FAILED = -25293,
	NO_SUCH_KEYCHAIN = -25294,
	DUPLICATE_KEYCHAIN = -25296,
	DUPLICATE_ITEM = -25299,
	NOT_FOUND = -25300,
	INTERACTION_NOT_ALLOWED = -25308,
};

static long live; /* objects that nobody has released */

long fake_live(void) { return __atomic_load_n(&live, __ATOMIC_SEQ_CST); }

static char dir[2048];

void fake_dir(const char *path) { snprintf(dir, sizeof dir, "%s", path); }

/* CoreFoundation */

static object *new_object(int type, long n)
{
	object *o = calloc(1, sizeof *o);
	o->type = type;
	o->references = 1;
	o->n = n;
	__atomic_add_fetch(&live, 1, __ATOMIC_SEQ_CST);
	return o;
}

static object *retain(object *o)
{
	if (o->type != CONSTANT)
		__atomic_add_fetch(&o->references, 1, __ATOMIC_SEQ_CST);
	return o;
}

void CFRelease(object *o)
{
	if (!o) {
		fprintf(stderr, "CFRelease(NULL) crashes on macOS\n");
		abort();
	}
	if (o->type == CONSTANT)
		return;
	int left = __atomic_sub_fetch(&o->references, 1, __ATOMIC_SEQ_CST);
	if (left < 0) {
		fprintf(stderr, "an object is released twice\n");
		abort();
	}
	if (left > 0)
		return;
	/* Its memory is kept, for the second release to be seen. */
	for (long i = 0; i < o->n && o->values; i++) {
		if (o->keys)
			CFRelease(o->keys[i]);
		CFRelease(o->values[i]);
	}
	__atomic_sub_fetch(&live, 1, __ATOMIC_SEQ_CST);
}

static object *new_bytes(int type, const void *bytes, long n)
{
	object *o = new_object(type, n);
	o->bytes = malloc(n + 1);
	memcpy(o->bytes, bytes, n);
	o->bytes[n] = 0;
	return o;
}

object *CFStringCreateWithBytes(void *allocator, const char *bytes, long n, uint32_t encoding, _Bool external)
{
	return encoding == 0x08000100 ? new_bytes(STRING, bytes, n) : NULL;
}

object *CFStringCreateExternalRepresentation(void *allocator, object *s, uint32_t encoding, uint8_t loss)
{
	return encoding == 0x08000100 && s->type == STRING ? new_bytes(DATA, s->bytes, s->n) : NULL;
}

object *CFDataCreate(void *allocator, const char *bytes, long n) { return new_bytes(DATA, bytes, n); }
long CFDataGetLength(object *o) { return o->n; }
char *CFDataGetBytePtr(object *o) { return o->n ? o->bytes : NULL; }

char kCFTypeDictionaryKeyCallBacks[64], kCFTypeDictionaryValueCallBacks[64], kCFTypeArrayCallBacks[64];

static object **retain_all(object **from, long n)
{
	object **to = malloc((n + 1) * sizeof *to);
	for (long i = 0; i < n; i++)
		to[i] = retain(from[i]);
	return to;
}

object *CFDictionaryCreate(void *allocator, object **keys, object **values, long n, void *k, void *v)
{
	if (k != kCFTypeDictionaryKeyCallBacks || v != kCFTypeDictionaryValueCallBacks)
		return NULL;
	object *o = new_object(DICTIONARY, n);
	o->keys = retain_all(keys, n);
	o->values = retain_all(values, n);
	return o;
}

object *CFDictionaryGetValue(object *d, object *key)
{
	for (long i = 0; i < d->n; i++)
		if (d->keys[i] == key)
			return d->values[i];
	return NULL;
}

object *CFArrayCreate(void *allocator, object **values, long n, void *callbacks)
{
	if (callbacks != kCFTypeArrayCallBacks)
		return NULL;
	object *o = new_object(ARRAY, n);
	o->values = retain_all(values, n);
	return o;
}

long CFArrayGetCount(object *o) { return o->n; }
object *CFArrayGetValueAtIndex(object *o, long i) { return o->values[i]; }

#define C(name) static object name##_object; object *name = &name##_object;
C(kCFBooleanTrue)
C(kSecClass) C(kSecClassGenericPassword)
C(kSecAttrService) C(kSecAttrAccount) C(kSecAttrLabel) C(kSecValueData)
C(kSecReturnData) C(kSecReturnAttributes)
C(kSecMatchLimit) C(kSecMatchLimitOne) C(kSecMatchLimitAll) C(kSecMatchSearchList)
C(kSecUseKeychain)

/* The system */

static char *path(char *to, const char *name, const char *suffix)
{
	snprintf(to, 4096, "%s/%s%s", dir, name, suffix);
	return to;
}

static int exists(const char *name, const char *suffix)
{
	char p[4096];
	return access(path(p, name, suffix), F_OK) == 0;
}

/* failure returns the status that a test wants of a function. */
static status failure(const char *function)
{
	char p[4096], text[32] = "";
	int f = open(path(p, "fail-", function), O_RDONLY);
	if (f < 0)
		return OK;
	if (read(f, text, sizeof text - 1) < 0)
		abort();
	close(f);
	if (strstr(text, " once"))
		unlink(p);
	return atoi(text);
}

static status ask(void)
{
	char p[4096], answer = 'y';
	int f = open(path(p, "asked", ""), O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (write(f, "?", 1) != 1)
		abort();
	close(f);
	for (;;) {
		f = open(path(p, "ui", ""), O_RDONLY);
		if (f >= 0) {
			if (read(f, &answer, 1) < 0)
				abort();
			close(f);
		}
		switch (answer) {
		case 'y': return OK;
		case 'c': return CANCELED;
		case 'w': return AUTH_FAILED;
		case 'n': return INTERACTION_NOT_ALLOWED;
		}
		if (access(dir, F_OK) != 0)
			return CANCELED; /* the test is over */
		usleep(2000);
	}
}

static status unlock(const char *keychain)
{
	char p[4096];
	if (!exists(keychain, ".locked"))
		return OK;
	status st = ask();
	if (st == OK)
		unlink(path(p, keychain, ".locked"));
	return st;
}

/* An item is four texts. */
enum { SERVICE, ACCOUNT, LABEL, VALUE, TEXTS };
typedef struct { uint32_t n[TEXTS]; char *text[TEXTS]; } item;
typedef struct { int lock, count; item items[1000]; } keychain;

static void begin(keychain *k, const char *name)
{
	char p[4096];
	k->count = 0;
	k->lock = open(path(p, "lock", ""), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (k->lock < 0 || flock(k->lock, LOCK_EX) < 0)
		return;
	FILE *f = fopen(path(p, name, ""), "r");
	if (!f)
		return;
	for (item *i = k->items; fread(i->n, sizeof i->n, 1, f) == 1; i++, k->count++)
		for (int t = 0; t < TEXTS; t++) {
			i->text[t] = malloc(i->n[t] + 1);
			if (fread(i->text[t], 1, i->n[t], f) != i->n[t])
				abort();
		}
	fclose(f);
}

static void save(keychain *k, const char *name)
{
	char p[4096], temporary[4096];
	FILE *f = fopen(path(temporary, name, ".new"), "w");
	for (item *i = k->items; i < k->items + k->count; i++) {
		fwrite(i->n, sizeof i->n, 1, f);
		for (int t = 0; t < TEXTS; t++)
			fwrite(i->text[t], 1, i->n[t], f);
	}
	fclose(f);
	rename(temporary, path(p, name, ""));
}

static void end(keychain *k)
{
	for (int i = 0; i < k->count; i++)
		for (int t = 0; t < TEXTS; t++)
			free(k->items[i].text[t]);
	close(k->lock);
	free(k);
}

static void set(item *i, int t, object *o)
{
	free(i->text[t]);
	i->n[t] = o->n;
	i->text[t] = malloc(o->n + 1);
	memcpy(i->text[t], o->bytes, o->n);
}

static int is(item *i, int t, object *o)
{
	return !o || (i->n[t] == o->n && !memcmp(i->text[t], o->bytes, o->n));
}

/* Security */

/* check returns PARAM if a dictionary has other keys than those given, or
   values of another type than they must have. */
static status check(object *d, object **keys)
{
	for (long i = 0; i < d->n; i++) {
		object *key = d->keys[i], *value = d->values[i], **k = keys;
		while (*k && *k != key)
			k++;
		if (!*k)
			return PARAM;
		if ((key == kSecAttrService || key == kSecAttrAccount || key == kSecAttrLabel) && value->type != STRING ||
		    key == kSecValueData && value->type != DATA ||
		    key == kSecClass && value != kSecClassGenericPassword ||
		    (key == kSecReturnData || key == kSecReturnAttributes) && value != kCFBooleanTrue ||
		    key == kSecMatchLimit && value != kSecMatchLimitOne && value != kSecMatchLimitAll ||
		    key == kSecMatchSearchList && (value->type != ARRAY || value->n != 1 || value->values[0]->type != KEYCHAIN) ||
		    key == kSecUseKeychain && value->type != KEYCHAIN)
			return PARAM;
	}
	return OK;
}

static status check_query(object *q, object **keys)
{
	return CFDictionaryGetValue(q, kSecClass) && CFDictionaryGetValue(q, kSecAttrService) ? check(q, keys) : PARAM;
}

/* chosen returns the name of the keychain that a query is about. */
static const char *chosen(object *q)
{
	object *list = CFDictionaryGetValue(q, kSecMatchSearchList), *k = CFDictionaryGetValue(q, kSecUseKeychain);
	return list ? list->values[0]->bytes : k ? k->bytes : "login.keychain";
}

static item *find(keychain *k, item *from, object *q)
{
	for (item *i = from; i < k->items + k->count; i++)
		if (is(i, SERVICE, CFDictionaryGetValue(q, kSecAttrService)) && is(i, ACCOUNT, CFDictionaryGetValue(q, kSecAttrAccount)))
			return i;
	return NULL;
}

/* is_in reports whether a keychain holds what a query finds. */
static int is_in(const char *name, object *q)
{
	keychain *k = malloc(sizeof *k);
	begin(k, name);
	int found = find(k, k->items, q) != NULL;
	end(k);
	return found;
}

static status choose(object *q, object **keys, const char *function, const char **name)
{
	status st = failure(function);
	if (st == OK)
		st = check_query(q, keys);
	if (st == OK && !exists(*name = chosen(q), ""))
		st = NO_SUCH_KEYCHAIN;
	if (st == OK && !CFDictionaryGetValue(q, kSecValueData) && !CFDictionaryGetValue(q, kSecMatchSearchList) && is_in("first.keychain", q))
		*name = "first.keychain";
	return st;
}

status SecItemAdd(object *q, object **result)
{
	object *keys[] = {kSecClass, kSecAttrService, kSecAttrAccount, kSecAttrLabel, kSecValueData, kSecUseKeychain, NULL};
	const char *name;
	status st = choose(q, keys, __func__, &name);
	if (st == OK && !(CFDictionaryGetValue(q, kSecAttrAccount) && CFDictionaryGetValue(q, kSecAttrLabel) && CFDictionaryGetValue(q, kSecValueData)))
		st = PARAM;
	if (st == OK)
		st = unlock(name);
	if (st != OK)
		return st;
	keychain *k = malloc(sizeof *k);
	begin(k, name);
	if (find(k, k->items, q))
		st = DUPLICATE_ITEM;
	else {
		item *i = &k->items[k->count++];
		memset(i, 0, sizeof *i);
		set(i, SERVICE, CFDictionaryGetValue(q, kSecAttrService));
		set(i, ACCOUNT, CFDictionaryGetValue(q, kSecAttrAccount));
		set(i, LABEL, CFDictionaryGetValue(q, kSecAttrLabel));
		set(i, VALUE, CFDictionaryGetValue(q, kSecValueData));
		save(k, name);
	}
	end(k);
	return st;
}

static object *attributes(item *i)
{
	object *keys[] = {kSecAttrService, kSecAttrAccount, kSecAttrLabel};
	object *values[] = {
		new_bytes(STRING, i->text[SERVICE], i->n[SERVICE]),
		new_bytes(STRING, i->text[ACCOUNT], i->n[ACCOUNT]),
		new_bytes(STRING, i->text[LABEL], i->n[LABEL]),
	};
	object *d = CFDictionaryCreate(NULL, keys, values, 3, kCFTypeDictionaryKeyCallBacks, kCFTypeDictionaryValueCallBacks);
	for (int i = 0; i < 3; i++)
		CFRelease(values[i]);
	return d;
}

status SecItemCopyMatching(object *q, object **result)
{
	object *keys[] = {kSecClass, kSecAttrService, kSecAttrAccount, kSecReturnData, kSecReturnAttributes, kSecMatchLimit, kSecMatchSearchList, NULL};
	const char *name;
	status st = choose(q, keys, __func__, &name);
	int all = CFDictionaryGetValue(q, kSecMatchLimit) == kSecMatchLimitAll;
	int data = CFDictionaryGetValue(q, kSecReturnData) != NULL;
	if (st == OK && (data && all || (data || all) && !result))
		st = PARAM;
	if (st != OK)
		return st;
	keychain *k = malloc(sizeof *k);
	begin(k, name);
	item *i = find(k, k->items, q);
	if (!i)
		st = NOT_FOUND;
	else if (data) {
		/* The user may take his time: others can go on. */
		flock(k->lock, LOCK_UN);
		st = unlock(name);
		if (st == OK)
			*result = new_bytes(DATA, i->text[VALUE], i->n[VALUE]);
	} else if (all) {
		object *found[1000];
		long n = 0;
		for (; i; i = find(k, i + 1, q))
			found[n++] = attributes(i);
		*result = CFArrayCreate(NULL, found, n, kCFTypeArrayCallBacks);
		while (n > 0)
			CFRelease(found[--n]);
	}
	end(k);
	return st;
}

status SecItemUpdate(object *q, object *change)
{
	object *keys[] = {kSecClass, kSecAttrService, kSecAttrAccount, kSecMatchSearchList, NULL}, *changes[] = {kSecValueData, NULL};
	const char *name;
	status st = choose(q, keys, __func__, &name);
	if (st == OK)
		st = check(change, changes);
	if (st == OK)
		st = unlock(name);
	if (st != OK)
		return st;
	keychain *k = malloc(sizeof *k);
	begin(k, name);
	item *i = find(k, k->items, q);
	if (!i)
		st = NOT_FOUND;
	else {
		set(i, VALUE, CFDictionaryGetValue(change, kSecValueData));
		save(k, name);
	}
	end(k);
	return st;
}

status SecItemDelete(object *q)
{
	object *keys[] = {kSecClass, kSecAttrService, kSecAttrAccount, kSecMatchSearchList, NULL};
	const char *name;
	status st = choose(q, keys, __func__, &name);
	if (st != OK)
		return st;
	keychain *k = malloc(sizeof *k);
	begin(k, name);
	item *i = find(k, k->items, q);
	if (!i)
		st = NOT_FOUND;
	else {
		for (int t = 0; t < TEXTS; t++)
			free(i->text[t]);
		*i = k->items[--k->count];
		save(k, name);
	}
	end(k);
	return st;
}

object *SecCopyErrorMessageString(status st, void *reserved)
{
	const char *text = st == CANCELED ? "User canceled the operation." :
		st == AUTH_FAILED ? "The user name or passphrase you entered is not correct." :
		st == INTERACTION_NOT_ALLOWED ? "User interaction is not allowed." : NULL;
	return text ? new_bytes(STRING, text, strlen(text)) : NULL;
}

status SecKeychainOpen(const char *name, object **result)
{
	*result = new_bytes(KEYCHAIN, name, strlen(name));
	return OK; /* whether there is one or not */
}

status SecKeychainCreate(const char *name, uint32_t n, const void *password, _Bool prompt, void *access, object **result)
{
	char p[4096];
	status st = failure(__func__);
	if (st == OK && (n || password || !prompt))
		st = PARAM;
	if (st == OK && exists(name, ""))
		st = DUPLICATE_KEYCHAIN;
	if (st == OK)
		st = ask();
	if (st != OK)
		return st;
	close(open(path(p, name, ""), O_WRONLY | O_CREAT, 0600));
	return SecKeychainOpen(name, result);
}

status SecKeychainGetStatus(object *k, uint32_t *result)
{
	const char *name = k ? k->bytes : "login.keychain";
	status st = failure(__func__);
	if (st == OK && !exists(name, ""))
		st = NO_SUCH_KEYCHAIN;
	if (st == OK)
		*result = exists(name, ".locked") ? 2 : 1 | 2 | 4;
	return st;
}

status SecKeychainUnlock(object *k, uint32_t n, const void *password, _Bool use)
{
	const char *name = k ? k->bytes : "login.keychain";
	if (n || password || use)
		return PARAM;
	return exists(name, "") ? unlock(name) : NO_SUCH_KEYCHAIN;
}
