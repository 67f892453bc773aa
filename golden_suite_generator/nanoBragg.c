/* nanoBragg: diffraction images of small crystals on an absolute scale.
 *
 * The C reference of the project: a plain double-precision program that keeps every peculiarity of the
 * canonical nanoBragg in its images (orientation carried over where phi is zero, interpolation that switches
 * off for good, running products, capture fraction of the last sensor layer, water background scaled twice,
 * pivots forced by the convention, single-precision mosaic angles, the published random streams), so that
 * another implementation can be held against it pixel by pixel.  What is not kept are the accidents of the
 * command line: options match exactly, values are checked, files are complete or absent.
 *
 * Rows of the image are computed in parallel; the number of threads changes no pixel.  See README.md.
 */
#define _XOPEN_SOURCE 700

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------------------------------
 * 1. Constants and small types
 * ------------------------------------------------------------------------------------------------------- */

static const double RTD = 180.0 * M_1_PI;                       /* degrees per radian */
static const double R_E_SQR = 7.94079248018965e-30;             /* classical electron radius squared, m^2 */
static const double FLUENCE_UNIT = 125932015286227086360700780544.0; /* photons/m^2 with r_e^2 x fluence = 1 */
static const double AVOGADRO = 6.02214179e23;
static const double WATER_F = 2.57;                             /* electrons */
static const double WATER_MW = 18.0;                            /* g/mol */
static const double SOURCE_DISTANCE_M = 10.0;
static const double CRYSTAL_DENSITY = 1.2e6;                    /* g/m^3, for the printed molecular weight */

enum { EXIT_BAD_INPUT = 2 };

typedef struct { double x, y, z; } vec3;
typedef struct { double m[3][3]; } mat3;

enum convention { ADXV, MOSFLM, DENZO, XDS, DIALS, CUSTOM };
enum pivot { BEAM, SAMPLE };
enum shape { SQUARE, ROUND, GAUSS, TOPHAT };
enum { OFF = 0, ON = 1, AUTOMATIC = 2 };

static const char *const convention_names[] = {"adxv", "mosflm", "denzo", "xds", "dials", "custom"};
static const char *const shape_names[] = {"square", "round", "gaussian", "tophat"};

/* ---------------------------------------------------------------------------------------------------------
 * 2. Messages, memory, whole files
 * ------------------------------------------------------------------------------------------------------- */

/* Refuse the run: one line on stderr, exit status 2. */
__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fputs("nanoBragg: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(EXIT_BAD_INPUT);
}

__attribute__((format(printf, 1, 2)))
static void warn(const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fputs("nanoBragg: warning: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void *allocate(size_t count, size_t size, const char *purpose)
{
    double physical = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    void *memory = (double)count * (double)size > physical ? NULL : calloc(count ? count : 1, size);
    if (!memory)
        die("not enough memory for %s (%zu x %zu bytes)", purpose, count, size);
    return memory;
}

struct text {
    const char *name;   /* of the file */
    char *bytes;        /* zero-terminated */
    size_t length;
    char *next;         /* start of the next line */
    long line;          /* number of the line read last, from 1 */
};

static struct text read_file(const char *name)
{
    struct text t = {name, NULL, 0, NULL, 0};
    struct stat info;
    FILE *file = fopen(name, "rb");
    if (!file)
        die("%s: cannot be read (%s)", name, strerror(errno));
    if (fstat(fileno(file), &info) || S_ISDIR(info.st_mode))
        die("%s: is not a file", name);
    size_t room = info.st_size > 0 ? (size_t)info.st_size + 1 : 65536;
    t.bytes = allocate(room + 1, 1, name);
    for (size_t got; (got = fread(t.bytes + t.length, 1, room - t.length, file)) > 0;) {
        t.length += got;
        if (t.length == room) {
            room *= 2;
            t.bytes = realloc(t.bytes, room + 1);
            if (!t.bytes)
                die("not enough memory for %s", name);
        }
    }
    if (ferror(file))
        die("%s: cannot be read (%s)", name, strerror(errno));
    fclose(file);
    t.bytes[t.length] = '\0';
    t.next = t.bytes;
    return t;
}

static struct text read_text(const char *name)
{
    struct text t = read_file(name);
    if (memchr(t.bytes, '\0', t.length))
        die("%s: expected text, found binary data", name);
    return t;
}

/* The next line without its line end, or NULL. */
static char *next_line(struct text *t)
{
    char *line = t->next;
    if (!line || !*line)
        return NULL;
    size_t length = strcspn(line, "\n");
    t->next = line[length] ? line + length + 1 : line + length;
    line[length] = '\0';
    if (length && line[length - 1] == '\r')
        line[length - 1] = '\0';
    t->line++;
    return line;
}

/* Cut a line into at most `most` words; the return value counts all of them. */
static int split(char *line, const char *separators, char **words, int most)
{
    int count = 0;
    for (char *word = strtok(line, separators); word; word = strtok(NULL, separators))
        if (count++ < most)
            words[count - 1] = word;
    return count;
}

/* True if the whole word is a number. */
static bool is_number(const char *word, double *value)
{
    char *end;
    *value = strtod(word, &end);
    return end != word && *end == '\0' && !isspace((unsigned char)*word);
}

/* ---------------------------------------------------------------------------------------------------------
 * 3. Vectors and rotations
 * ------------------------------------------------------------------------------------------------------- */

static inline vec3 vector(double x, double y, double z) { return (vec3){x, y, z}; }
static inline vec3 scaled(vec3 v, double s) { return (vec3){s * v.x, s * v.y, s * v.z}; }
static inline vec3 sum3(vec3 a, vec3 b) { return (vec3){a.x + b.x, a.y + b.y, a.z + b.z}; }
static inline double dot(vec3 a, vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static inline double magnitude(vec3 v) { return sqrt(v.x * v.x + v.y * v.y + v.z * v.z); }

static inline vec3 cross(vec3 a, vec3 b)
{
    return (vec3){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

static inline vec3 unit(vec3 v)
{
    double length = magnitude(v);
    if (length <= 0.0)
        return vector(0.0, 0.0, 0.0);
    return (vec3){v.x / length, v.y / length, v.z / length};
}

/* Right-handed rotation about an axis (Rodrigues), applied literally even if the axis is not a unit vector. */
static inline vec3 rotate_axis(vec3 v, vec3 axis, double angle)
{
    double s = sin(angle), c = cos(angle);
    double along = dot(axis, v) * (1.0 - c);
    return (vec3){axis.x * along + v.x * c + (axis.y * v.z - axis.z * v.y) * s,
                  axis.y * along + v.y * c + (axis.z * v.x - axis.x * v.z) * s,
                  axis.z * along + v.z * c + (axis.x * v.y - axis.y * v.x) * s};
}

/* Right-handed rotations about the laboratory x, then y, then z axis; an angle of zero is skipped. */
static vec3 rotate_xyz(vec3 v, const double angle[3])
{
    if (angle[0] != 0.0) {
        double s = sin(angle[0]), c = cos(angle[0]);
        v = vector(v.x, c * v.y - s * v.z, s * v.y + c * v.z);
    }
    if (angle[1] != 0.0) {
        double s = sin(angle[1]), c = cos(angle[1]);
        v = vector(c * v.x + s * v.z, v.y, -s * v.x + c * v.z);
    }
    if (angle[2] != 0.0) {
        double s = sin(angle[2]), c = cos(angle[2]);
        v = vector(c * v.x - s * v.y, s * v.x + c * v.y, v.z);
    }
    return v;
}

static inline vec3 multiply(const mat3 *u, vec3 v)
{
    return (vec3){u->m[0][0] * v.x + u->m[0][1] * v.y + u->m[0][2] * v.z,
                  u->m[1][0] * v.x + u->m[1][1] * v.y + u->m[1][2] * v.z,
                  u->m[2][0] * v.x + u->m[2][1] * v.y + u->m[2][2] * v.z};
}

/* ---------------------------------------------------------------------------------------------------------
 * 4. Random deviates.  Bit for bit the generators of the canonical program: single-precision results, one
 *    shuffle table and one stored Gaussian for the whole process, one integer state per stream.
 * ------------------------------------------------------------------------------------------------------- */

enum { SHUFFLE = 32 };

static struct {
    long table[SHUFFLE];
    long output;            /* zero until the table has been filled */
    bool gaussian_stored;
    float gaussian;
} deviates;

/* Park-Miller minimal standard generator by Schrage's method. */
static long advance(long x)
{
    long k = x / 127773;
    x = 16807 * (x - k * 127773) - 2836 * k;
    return x < 0 ? x + 2147483647 : x;
}

/* Uniform deviate in [0, 1) with a Bays-Durham shuffle; a state <= 0 fills the table anew. */
static float uniform_deviate(long *state)
{
    const double ceiling = 1.0 - 1.2e-7;
    if (*state <= 0 || deviates.output == 0) {
        *state = -*state < 1 ? 1 : -*state;
        for (int j = SHUFFLE + 7; j >= 0; j--) {
            *state = advance(*state);
            if (j < SHUFFLE)
                deviates.table[j] = *state;
        }
        deviates.output = deviates.table[0];
    }
    *state = advance(*state);
    long j = deviates.output / 67108864;
    deviates.output = deviates.table[j];
    deviates.table[j] = *state;
    float u = (float)((double)deviates.output * (1.0 / 2147483647));
    return (double)u > ceiling ? (float)ceiling : u;
}

/* Normal deviate: polar Box-Muller, the second of each pair is stored. */
static float gaussian_deviate(long *state)
{
    if (deviates.gaussian_stored) {
        deviates.gaussian_stored = false;
        return deviates.gaussian;
    }
    float v1, v2, square;
    do {
        v1 = (float)(2.0 * uniform_deviate(state) - 1.0);
        v2 = (float)(2.0 * uniform_deviate(state) - 1.0);
        square = v1 * v1 + v2 * v2;
    } while (square >= 1.0f || square == 0.0f);
    float factor = (float)sqrt(-2.0 * log(square) / square);
    deviates.gaussian = v1 * factor;
    deviates.gaussian_stored = true;
    return v2 * factor;
}

/* Logarithm of the gamma function (Lanczos), rounded to single precision. */
static float log_gamma(float argument)
{
    static const double coefficient[6] = {76.18009172947146, -86.50532032941677, 24.01409824083091,
                                          -1.231739572450155, 0.1208650973866179e-2, -0.5395239384953e-5};
    double x = argument;
    double t = x + 5.5;
    t -= (x + 0.5) * log(t);
    double series = 1.000000000190015;
    for (int i = 0; i < 6; i++)
        series += coefficient[i] / (x + (i + 1));
    return (float)(-t + log(2.5066282746310005 * series / x));
}

static float poisson_by_product(float mean, long *state)
{
    float limit = (float)exp(-mean);
    float count = -1.0f, t = 1.0f;
    do {
        count += 1.0f;
        t *= uniform_deviate(state);
    } while (t > limit);
    return count;
}

static float poisson_by_rejection(float mean, long *state)
{
    float s = (float)sqrt(2.0 * mean);
    float log_mean = (float)log(mean);
    float g = mean * log_mean - log_gamma((float)(mean + 1.0));
    float y, count, t;
    do {
        do {
            y = (float)tan(M_PI * uniform_deviate(state));
            count = s * y + mean;
        } while (count < 0.0f);
        count = floorf(count);
        float z = count * log_mean - log_gamma((float)(count + 1.0)) - g;
        float y_squared = y * y;
        t = (float)(0.9 * (1.0 + y_squared) * exp(z));
    } while (uniform_deviate(state) > t);
    return count;
}

/* Poisson deviate; means above a million are drawn from the normal distribution and are not integers. */
static float poisson_deviate(float mean, long *state)
{
    if (mean > 1.0e6f)
        return (float)(mean + sqrt(mean) * gaussian_deviate(state));
    if (mean < 12.0f)
        return poisson_by_product(mean, state);
    return poisson_by_rejection(mean, state);
}

/* Random rotation by at most `cap` radians; cap and angle are held in single precision. */
static mat3 random_rotation(float cap, long *state)
{
    double r1 = 2.0 * uniform_deviate(state) - 1.0;
    double r2 = 2.0 * uniform_deviate(state) - 1.0;
    double r3 = 2.0 * uniform_deviate(state) - 1.0;
    double w = sqrt(1.0 - r2 * r2);
    double v1 = w * sin(M_PI * r1), v2 = w * cos(M_PI * r1), v3 = r2;
    float angle = cap * powf((float)(1.0 - r3 * r3), (float)(1.0 / 3.0));
    double c = cos(angle), s = sin(angle), t = 1.0 - c;
    return (mat3){{{c + t * v1 * v1, t * v1 * v2 - s * v3, t * v1 * v3 + s * v2},
                   {t * v1 * v2 + s * v3, c + t * v2 * v2, t * v2 * v3 - s * v1},
                   {t * v1 * v3 - s * v2, t * v2 * v3 + s * v1, c + t * v3 * v3}}};
}

/* ---------------------------------------------------------------------------------------------------------
 * 5. Settings: what the command line and image headers say, in internal units
 * ------------------------------------------------------------------------------------------------------- */

/* "Unset" is NaN for beam centres and the close distance, -1 for ranges, steps and counts. */
struct settings {
    char *matrix_file, *hkl_file, *dump_file, *source_file, *image_file, *mask_file;
    char *stol_file, *stolout_file;
    char *float_name, *int_name, *pgm_name, *noise_name;

    double cell[6];                  /* A, A, A, rad, rad, rad */
    int cell_given;
    double misset_rad[3];
    int misset_random;
    double default_F;
    long cells[3];                   /* Na, Nb, Nc */
    double sample_m[3];              /* edges along a, b, c */
    int shape;
    double fudge;
    double mosaic_spread_rad;
    long mosaic_domains;

    double lambda_m, dispersion;
    long dispsteps;
    double divrange_rad[2], divstep_rad[2];   /* horizontal, vertical */
    long divsteps[2];
    int round_divergence;
    double kahn_factor;
    int nopolar;
    double fluence, flux, exposure_s, beamsize_m;

    double pixel_m;
    long pixels[2];                  /* fast, slow; 0: from the size */
    double size_m[2];
    double distance_m, close_distance_m;
    double beam_m[2];                /* Xbeam, Ybeam */
    double close_m[2];               /* Xclose, Yclose */
    double org_px[2];                /* ORGX, ORGY */
    int pivot, convention;
    double fdet_vector[3], sdet_vector[3], odet_vector[3];
    double beam_vector[3], polar_vector[3], spindle_axis[3], twotheta_axis[3];
    double twotheta_rad, rotation_rad[3];
    int curved_detector, point_pixel;
    double thick_m, mu_per_m;
    long thicksteps;
    long roi[4];                     /* fast min, max, slow min, max; -1: default */

    double phi_rad, osc_rad, phistep_rad;
    long phisteps;
    long oversample;
    int oversample_thick, oversample_polar, oversample_omega;
    double dmin_m;
    int interpolate;
    double water_m;

    int write_pgm, write_noise, progress, printout;
    double scale, pgm_scale, adc_offset;
    long noise_seed, mosaic_seed, misset_seed;    /* as given; the streams start at minus these */
    long printout_pixel[2];          /* fast, slow */
    long trace_pixel[2];             /* slow, fast */
    double ignored[3];               /* values of options without effect on any output */
    int ignored_flag;
};

static const char *dump_name(const struct settings *set)
{
    return set->dump_file ? set->dump_file : "Fdump.bin";
}

static struct settings default_settings(void)
{
    return (struct settings){
        .float_name = "floatimage.bin", .int_name = "intimage.img",
        .pgm_name = "image.pgm", .noise_name = "noiseimage.img",
        .cells = {1, 1, 1}, .shape = SQUARE, .fudge = 1.0, .mosaic_spread_rad = -1.0, .mosaic_domains = -1,
        .lambda_m = 1e-10, .dispsteps = -1,
        .divrange_rad = {-1.0, -1.0}, .divstep_rad = {-1.0, -1.0}, .divsteps = {-1, -1},
        .round_divergence = ON,
        .fluence = FLUENCE_UNIT, .exposure_s = 1.0, .beamsize_m = 1e-4,
        .pixel_m = 1e-4, .size_m = {0.1024, 0.1024}, .distance_m = 0.1, .close_distance_m = NAN,
        .beam_m = {NAN, NAN}, .close_m = {NAN, NAN}, .org_px = {NAN, NAN},
        .pivot = BEAM, .convention = MOSFLM,
        .fdet_vector = {0, 0, 1}, .sdet_vector = {0, -1, 0}, .odet_vector = {1, 0, 0},
        .beam_vector = {1, 0, 0}, .polar_vector = {0, 0, 1}, .spindle_axis = {0, 0, 1},
        .twotheta_axis = {0, 1, 0},
        .mu_per_m = -1.0, .thicksteps = -1, .roi = {-1, -1, -1, -1},
        .osc_rad = -1.0, .phistep_rad = -1.0, .phisteps = -1, .oversample = -1,
        .interpolate = AUTOMATIC, .write_pgm = ON, .write_noise = ON, .progress = ON,
        .adc_offset = 40.0,
        .noise_seed = (long)time(NULL), .mosaic_seed = 12345678, .misset_seed = (long)time(NULL),
        .printout_pixel = {-1, -1}, .trace_pixel = {-1, -1},
    };
}

/* ---------------------------------------------------------------------------------------------------------
 * 6. Command line: one table, exact spellings, last one wins
 * ------------------------------------------------------------------------------------------------------- */

enum kind { HEADING, FLAG, REAL, INTEGER, NAME, CELL, MISSET, PIVOT, ABSORPTION };
enum units { PLAIN, MM, ANGSTROM, EV, DEGREE, MRAD, PERCENT, MICRON, WATER_MICRON, DMIN_ANGSTROM };
enum range { ANY, POSITIVE, NOT_NEGATIVE, NONZERO_VECTOR };
enum effect { NONE, HEADER, TO_BEAM, TO_SAMPLE, TO_CUSTOM, TO_CUSTOM_SAMPLE, POLARISE, MAKE_NOISE, MAKE_PGM,
              PRINT };

struct option {
    const char *spellings;      /* separated by blanks, the usual one first */
    enum kind kind;
    int values;                 /* words that follow */
    size_t field;               /* offset in struct settings */
    int copies;                 /* a single value is stored this many times in a row */
    enum units units;
    enum range range;
    int flag;                   /* what a FLAG stores */
    enum effect effect;
    const char *help;
};

#define F(field) offsetof(struct settings, field)
#define TITLE(text) {text, HEADING, 0, 0, 0, PLAIN, ANY, 0, NONE, ""}
#define SWITCH(names, field, value, effect, help) {names, FLAG, 0, F(field), 1, PLAIN, ANY, value, effect, help}
#define NUMBER(names, field, unit, range, effect, help) {names, REAL, 1, F(field), 1, unit, range, 0, effect, help}
#define SAME(names, field, n, unit, range, help) {names, REAL, 1, F(field), n, unit, range, 0, NONE, help}
#define COUNT(names, field, range, help) {names, INTEGER, 1, F(field), 1, PLAIN, range, 0, NONE, help}
#define COUNTS(names, field, n, range, help) {names, INTEGER, 1, F(field), n, PLAIN, range, 0, NONE, help}
#define VECTOR(names, field, range, effect, help) {names, REAL, 3, F(field), 1, PLAIN, range, 0, effect, help}
#define FILENAME(names, field, effect, help) {names, NAME, 1, F(field), 1, PLAIN, ANY, 0, effect, help}

static const struct option options[] = {
    TITLE("Crystal"),
    {"-cell", CELL, 6, F(cell), 1, PLAIN, ANY, 0, NONE,
     "a b c alpha beta gamma: unit cell, A and degrees (1 to 6 values)"},
    FILENAME("-mat -matrix", matrix_file, NONE, "orientation matrix (MOSFLM form, times the wavelength)"),
    FILENAME("-hkl", hkl_file, NONE, "structure factors: lines of h k l F"),
    NUMBER("-default_F", default_F, PLAIN, ANY, NONE, "F of reflections that are not listed, electrons (0)"),
    FILENAME("-dump", dump_file, NONE, "structure-factor cache, read without -hkl, written with it (Fdump.bin)"),
    COUNTS("-N", cells, 3, NOT_NEGATIVE, "unit cells along each axis (1)"),
    COUNT("-Na", cells[0], NOT_NEGATIVE, "unit cells along a"),
    COUNT("-Nb", cells[1], NOT_NEGATIVE, "unit cells along b"),
    COUNT("-Nc", cells[2], NOT_NEGATIVE, "unit cells along c"),
    SAME("-samplesize -sample_size -xtalsize -xtal_size", sample_m, 3, MM, NOT_NEGATIVE, "crystal edges, mm"),
    NUMBER("-sample_x -sample_thick -sample_thickness -xtal_x -xtal_thick -xtal_thickness", sample_m[0], MM,
           NOT_NEGATIVE, NONE, "edge along a, mm"),
    NUMBER("-sample_y -sample_width -xtal_y -xtal_width -width", sample_m[1], MM, NOT_NEGATIVE, NONE,
           "edge along b, mm"),
    NUMBER("-sample_z -sample_height -sample_heigh -xtal_z -xtal_height -xtal_heigh -height -heigh", sample_m[2],
           MM, NOT_NEGATIVE, NONE, "edge along c, mm"),
    SWITCH("-square_xtal", shape, SQUARE, NONE, "parallelepiped crystal (default)"),
    SWITCH("-round_xtal", shape, ROUND, NONE, "ellipsoidal crystal"),
    SWITCH("-gauss_xtal", shape, GAUSS, NONE, "Gaussian spots"),
    SWITCH("-tophat_spots -binary_spots", shape, TOPHAT, NONE, "flat-top spots"),
    NUMBER("-fudge", fudge, PLAIN, NOT_NEGATIVE, NONE, "scale of the squared spot radius, not for square (1)"),
    {"-misset", MISSET, 3, F(misset_rad), 1, DEGREE, ANY, 0, NONE,
     "x y z: rotations of the crystal, degrees; or: random"},
    NUMBER("-mosaic -mosaicity -mosaici -mosaic_spread -mosaic_spr", mosaic_spread_rad, DEGREE, NOT_NEGATIVE,
           NONE, "largest rotation of a mosaic domain, degrees"),
    COUNT("-mosaic_domains -mosaic_domain -mosaic_dom", mosaic_domains, NOT_NEGATIVE,
          "number of mosaic domains (10 with a spread)"),

    TITLE("Beam"),
    NUMBER("-lambda -wave -wavelength", lambda_m, ANGSTROM, POSITIVE, NONE, "wavelength, A (1)"),
    NUMBER("-energy", lambda_m, EV, POSITIVE, NONE, "photon energy, eV"),
    NUMBER("-dispersion", dispersion, PERCENT, NOT_NEGATIVE, NONE, "spectral width, percent (0)"),
    COUNT("-dispsteps", dispsteps, NOT_NEGATIVE, "number of wavelengths"),
    SAME("-divergence", divrange_rad, 2, MRAD, NOT_NEGATIVE, "divergence in both directions, mrad"),
    NUMBER("-hdivrange", divrange_rad[0], MRAD, NOT_NEGATIVE, NONE, "horizontal divergence, mrad"),
    NUMBER("-vdivrange", divrange_rad[1], MRAD, NOT_NEGATIVE, NONE, "vertical divergence, mrad"),
    NUMBER("-hdivstep", divstep_rad[0], MRAD, NOT_NEGATIVE, NONE, "horizontal step width, mrad"),
    NUMBER("-vdivstep", divstep_rad[1], MRAD, NOT_NEGATIVE, NONE, "vertical step width, mrad"),
    COUNT("-hdivsteps", divsteps[0], NOT_NEGATIVE, "horizontal number of steps"),
    COUNT("-vdivsteps", divsteps[1], NOT_NEGATIVE, "vertical number of steps"),
    COUNTS("-divsteps", divsteps, 2, NOT_NEGATIVE, "number of steps in both directions"),
    SWITCH("-round_div", round_divergence, ON, NONE, "elliptical divergence (default)"),
    SWITCH("-square_div", round_divergence, OFF, NONE, "rectangular divergence"),
    FILENAME("-sourcefile", source_file, NONE, "sources: lines of X Y Z weight wavelength(m)"),
    NUMBER("-polar", kahn_factor, PLAIN, ANY, POLARISE, "Kahn polarisation factor (0)"),
    SWITCH("-nopolar", nopolar, ON, NONE, "no polarisation correction"),
    NUMBER("-fluence", fluence, PLAIN, NOT_NEGATIVE, NONE, "photons per square metre (1.26e29)"),
    NUMBER("-flux", flux, PLAIN, NOT_NEGATIVE, NONE, "photons per second; sets the fluence"),
    NUMBER("-exposure", exposure_s, PLAIN, NOT_NEGATIVE, NONE, "exposure, s (1)"),
    NUMBER("-beamsize", beamsize_m, MM, ANY, NONE, "beam size, mm; clips the crystal along b and c (0.1)"),

    TITLE("Detector"),
    NUMBER("-pixel -pixelsize -pixel_size", pixel_m, MM, POSITIVE, NONE, "pixel size, mm (0.1)"),
    COUNTS("-detpixels", pixels, 2, POSITIVE, "pixels along both axes"),
    COUNT("-detpixels_f -detpixels_x", pixels[0], POSITIVE, "pixels along the fast axis"),
    COUNT("-detpixels_s -detpixels_y", pixels[1], POSITIVE, "pixels along the slow axis"),
    SAME("-detsize", size_m, 2, MM, POSITIVE, "detector size, mm (102.4)"),
    NUMBER("-detsize_f", size_m[0], MM, POSITIVE, NONE, "size along the fast axis, mm"),
    NUMBER("-detsize_s", size_m[1], MM, POSITIVE, NONE, "size along the slow axis, mm"),
    NUMBER("-distance", distance_m, MM, POSITIVE, TO_BEAM, "distance along the beam, mm (100)"),
    NUMBER("-close_distance", close_distance_m, MM, POSITIVE, TO_SAMPLE, "shortest distance, mm; overrides -distance"),
    NUMBER("-Xbeam", beam_m[0], MM, ANY, TO_BEAM, "direct beam, mm, in the convention's own frame"),
    NUMBER("-Ybeam", beam_m[1], MM, ANY, TO_BEAM, "direct beam, mm"),
    NUMBER("-Xclose", close_m[0], MM, ANY, TO_SAMPLE, "near point, mm (custom convention)"),
    NUMBER("-Yclose", close_m[1], MM, ANY, TO_SAMPLE, "near point, mm (custom convention)"),
    NUMBER("-ORGX", org_px[0], PLAIN, ANY, TO_SAMPLE, "near point, pixels (xds, dials, custom)"),
    NUMBER("-ORGY", org_px[1], PLAIN, ANY, TO_SAMPLE, "near point, pixels (xds, dials, custom)"),
    {"-pivot", PIVOT, 1, F(pivot), 1, PLAIN, ANY, 0, NONE, "beam or sample (custom convention)"},
    SWITCH("-mosflm", convention, MOSFLM, TO_BEAM, "MOSFLM convention (default)"),
    SWITCH("-adxv", convention, ADXV, TO_BEAM, "ADXV convention"),
    SWITCH("-denzo", convention, DENZO, TO_BEAM, "DENZO convention"),
    SWITCH("-xds", convention, XDS, TO_SAMPLE, "XDS convention"),
    SWITCH("-dials", convention, DIALS, TO_BEAM, "DIALS convention"),
    VECTOR("-fdet_vector", fdet_vector, NONZERO_VECTOR, TO_CUSTOM, "x y z: fast axis; selects the custom convention"),
    VECTOR("-sdet_vector", sdet_vector, NONZERO_VECTOR, TO_CUSTOM, "x y z: slow axis"),
    VECTOR("-odet_vector", odet_vector, ANY, TO_CUSTOM, "x y z: detector normal"),
    VECTOR("-beam_vector", beam_vector, NONZERO_VECTOR, TO_CUSTOM, "x y z: direction of the beam"),
    VECTOR("-polar_vector", polar_vector, NONZERO_VECTOR, TO_CUSTOM, "x y z: polarisation (E vector)"),
    VECTOR("-spindle_axis", spindle_axis, NONZERO_VECTOR, TO_CUSTOM, "x y z: rotation axis of the crystal"),
    VECTOR("-twotheta_axis", twotheta_axis, NONZERO_VECTOR, TO_CUSTOM_SAMPLE, "x y z: axis of -twotheta"),
    VECTOR("-pix0_vector", ignored, ANY, TO_CUSTOM, "x y z: only selects the custom convention"),
    NUMBER("-twotheta", twotheta_rad, DEGREE, ANY, TO_SAMPLE, "detector swing, degrees (0)"),
    NUMBER("-detector_rotx", rotation_rad[0], DEGREE, ANY, NONE, "detector rotation about x, degrees (0)"),
    NUMBER("-detector_roty", rotation_rad[1], DEGREE, ANY, NONE, "then about y, degrees (0)"),
    NUMBER("-detector_rotz", rotation_rad[2], DEGREE, ANY, NONE, "then about z, degrees (0)"),
    SWITCH("-curved_det", curved_detector, ON, NONE, "spherical detector"),
    SWITCH("-point_pixel", point_pixel, ON, NONE, "solid angle 1/R^2"),
    {"-detector_abs -detector_absorb -detector_absorption", ABSORPTION, 1, F(mu_per_m), 1, PLAIN, NOT_NEGATIVE, 0, NONE,
     "attenuation depth of the sensor, um; inf or 0: no sensor"},
    NUMBER("-detector_thick", thick_m, MICRON, NOT_NEGATIVE, NONE, "sensor thickness, um (0)"),
    COUNT("-detector_thicksteps -thicksteps", thicksteps, NOT_NEGATIVE, "sensor layers"),
    {"-roi", INTEGER, 4, F(roi), 1, PLAIN, ANY, 0, NONE,
     "xmin xmax ymin ymax: rendered pixels, fast and slow, inclusive"},
    FILENAME("-img", image_file, HEADER, "SMV image whose header supplies geometry"),
    FILENAME("-mask", mask_file, HEADER, "SMV image: header and mask (0: skip the pixel)"),

    TITLE("Sampling"),
    NUMBER("-phi", phi_rad, DEGREE, ANY, NONE, "spindle angle at the start, degrees (0)"),
    NUMBER("-osc", osc_rad, DEGREE, NOT_NEGATIVE, NONE, "oscillation range, degrees"),
    NUMBER("-phistep", phistep_rad, DEGREE, NOT_NEGATIVE, NONE, "step width, degrees"),
    COUNT("-phisteps", phisteps, NOT_NEGATIVE, "number of steps"),
    COUNT("-oversample", oversample, NOT_NEGATIVE, "sub-pixels along each axis (0: automatic)"),
    SWITCH("-oversample_thick", oversample_thick, ON, NONE, "capture fraction for every evaluation"),
    SWITCH("-oversample_polar", oversample_polar, ON, NONE, "polarisation for every evaluation"),
    SWITCH("-oversample_omega", oversample_omega, ON, NONE, "solid angle for every evaluation"),
    NUMBER("-dmin", dmin_m, DMIN_ANGSTROM, NOT_NEGATIVE, NONE, "resolution limit, A (0: none)"),
    SWITCH("-interpolate", interpolate, ON, NONE, "tricubic interpolation of F"),
    SWITCH("-nointerpolate", interpolate, OFF, NONE, "nearest reflection"),
    NUMBER("-water", water_m, WATER_MICRON, NOT_NEGATIVE, NONE, "water background, um (0)"),

    TITLE("Output and random numbers"),
    FILENAME("-floatfile -floatimage", float_name, NONE, "float image (floatimage.bin)"),
    FILENAME("-intfile -intimage", int_name, NONE, "SMV image (intimage.img)"),
    FILENAME("-pgmfile -pgmimage", pgm_name, MAKE_PGM, "grey map (image.pgm)"),
    SWITCH("-nopgm", write_pgm, OFF, NONE, "no grey map"),
    FILENAME("-noisefile -noiseimage", noise_name, MAKE_NOISE, "SMV image with photon noise (noiseimage.img)"),
    SWITCH("-nonoise", write_noise, OFF, NONE, "no noise image"),
    NUMBER("-scale", scale, PLAIN, ANY, NONE, "scale of the SMV image (0: maximum at 55000)"),
    NUMBER("-pgmscale", pgm_scale, PLAIN, ANY, MAKE_PGM, "scale of the grey map (0: automatic)"),
    NUMBER("-adc -adcoffset -adc_offset", adc_offset, PLAIN, ANY, NONE, "offset of the SMV images (40)"),
    COUNT("-seed", noise_seed, ANY, "seed of the noise (clock)"),
    COUNT("-mosaic_seed", mosaic_seed, ANY, "seed of the mosaic domains (12345678)"),
    COUNT("-misset_seed", misset_seed, ANY, "seed of -misset random (clock)"),
    SWITCH("-printout", printout, ON, NONE, "print every rendered pixel"),
    {"-printout_pixel", INTEGER, 2, F(printout_pixel), 1, PLAIN, NOT_NEGATIVE, 0, PRINT,
     "fast slow: print this pixel only"},
    {"-trace_pixel", INTEGER, 2, F(trace_pixel), 1, PLAIN, NOT_NEGATIVE, 0, NONE,
     "slow fast: print every intermediate of this pixel"},
    SWITCH("-progress", progress, ON, NONE, "print progress (default)"),
    SWITCH("-noprogress", progress, OFF, NONE, "no progress"),

    TITLE("Accepted, without effect on any image"),
    FILENAME("-stol -4stol -Q", stol_file, NONE, "amorphous scattering; the file must hold data"),
    FILENAME("-stolout", stolout_file, NONE, "never written"),
    SWITCH("-coherent", ignored_flag, ON, NONE, ""),
    NUMBER("-density -sample_density -sample_den", ignored[0], PLAIN, ANY, NONE, ""),
    NUMBER("-MW -molecular_weight -molec", ignored[0], PLAIN, ANY, NONE, ""),
};

enum { OPTIONS = sizeof options / sizeof options[0] };

static void print_usage(void)
{
    puts("usage: nanoBragg -cell a b c alpha beta gamma -default_F F [options]\n"
         "       nanoBragg -mat FILE -hkl FILE [options]\n"
         "Simulates the diffraction image of a small crystal.  Defaults stand in parentheses.");
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].kind == HEADING)
            printf("\n%s:\n", options[i].spellings);
        else
            printf("  %s%s%s\n", options[i].spellings, *options[i].help ? "\n        " : "", options[i].help);
}

static bool spelled(const char *spellings, const char *word)
{
    size_t length = strlen(word);
    for (const char *s = spellings; *s;) {
        size_t n = strcspn(s, " ");
        if (n == length && !strncmp(s, word, n))
            return true;
        s += n + (s[n] == ' ');
    }
    return false;
}

static const struct option *find_option(const char *word)
{
    for (int i = 0; i < OPTIONS; i++)
        if (options[i].kind != HEADING && spelled(options[i].spellings, word))
            return &options[i];
    return NULL;
}

static int least(int a, int b) { return a < b ? a : b; }

/* Levenshtein distance; a word that begins with the other one counts as close. */
static int edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
    int row[64];
    if (na > 63 || nb > 63)
        return INT_MAX;
    if (na > 3 && na < nb && !strncmp(a, b, na))
        return 1;
    if (nb > 3 && nb < na && !strncmp(a, b, nb))
        return 2;
    for (size_t j = 0; j <= nb; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(change, 1 + least(row[j], row[j - 1]));
        }
    }
    return row[nb];
}

__attribute__((noreturn))
static void die_unknown(const char *word)
{
    const char *best = "-help";
    size_t best_length = 5;
    int best_distance = INT_MAX;
    for (int i = 0; i < OPTIONS; i++) {
        if (options[i].kind == HEADING)
            continue;
        for (const char *s = options[i].spellings; *s;) {
            size_t n = strcspn(s, " ");
            int distance = edit_distance(word, strlen(word), s, n);
            if (distance < best_distance) {
                best_distance = distance;
                best = s;
                best_length = n;
            }
            s += n + (s[n] == ' ');
        }
    }
    die("unknown option '%s' (did you mean '%.*s'?)", word, (int)best_length, best);
}

static double internal_units(double value, enum units units)
{
    switch (units) {
    case MM: return value / 1000.0;
    case ANGSTROM: return value / 1e10;
    case EV: return (12398.42 / value) / 1e10;
    case DEGREE: return value / RTD;
    case MRAD: return value / 1000.0;
    case PERCENT: return value / 100.0;
    case MICRON: return value * 1e-6;
    case WATER_MICRON: return value / 1e6;
    case DMIN_ANGSTROM: return value * 1e-10;
    default: return value;
    }
}

static void check_range(const char *name, const char *word, double value, enum range range)
{
    if (range == POSITIVE && !(value > 0.0))
        die("%s: expected a positive number, found '%s'", name, word);
    if (range == NOT_NEGATIVE && !(value >= 0.0))
        die("%s: expected a number that is not negative, found '%s'", name, word);
}

static double real_value(const char *name, const char *word, enum range range)
{
    double value;
    if (!is_number(word, &value) || !isfinite(value))
        die("%s: expected a number, found '%s'", name, word);
    check_range(name, word, value, range);
    return value;
}

static long integer_value(const char *name, const char *word, enum range range)
{
    double value;
    if (!is_number(word, &value) || !(fabs(value) <= 2147483647.0) || value != floor(value))
        die("%s: expected a whole number, found '%s'", name, word);
    check_range(name, word, value, range);
    return (long)value;
}

static char *name_value(const char *name, char *word)
{
    if (!*word || *word == '-')
        die("%s: expected a file name, found '%s'", name, word);
    return word;
}

/* -cell takes one to six numbers; missing or zero edges repeat the first, missing or zero angles are 90. */
static int read_cell(struct settings *set, const char *name, char **words, int available)
{
    int n = 0;
    double value, given[6] = {0};
    while (n < 6 && n < available && (is_number(words[n], &value) || words[n][0] != '-')) {
        given[n] = real_value(name, words[n], n ? NOT_NEGATIVE : POSITIVE);
        if (n >= 3 && given[n] >= 180.0)
            die("%s: expected an angle below 180 degrees, found '%s'", name, words[n]);
        n++;
    }
    if (!n)
        die("%s: expected 1 to 6 numbers, found none", name);
    for (int i = 0; i < 3; i++)
        set->cell[i] = given[i] > 0.0 ? given[i] : given[0];
    for (int i = 3; i < 6; i++)
        set->cell[i] = given[i] > 0.0 ? given[i] / RTD : 90.0 / RTD;
    set->cell_given = ON;
    return n;
}

static int read_misset(struct settings *set, const char *name, char **words, int available)
{
    set->misset_random = available > 0 && (!strcmp(words[0], "random") || !strcmp(words[0], "rand"));
    if (set->misset_random)
        return 1;
    if (available < 3)
        die("%s: expected 3 numbers or 'random', found %d value%s", name, available, available == 1 ? "" : "s");
    for (int i = 0; i < 3; i++)
        set->misset_rad[i] = real_value(name, words[i], ANY) / RTD;
    return 3;
}

static void read_pivot(struct settings *set, const char *name, const char *word)
{
    if (strcmp(word, "beam") && strcmp(word, "sample"))
        die("%s: expected 'beam' or 'sample', found '%s'", name, word);
    set->pivot = strcmp(word, "beam") ? SAMPLE : BEAM;
}

/* An infinite or zero attenuation depth also takes the thickness away that was given so far. */
static void read_absorption(struct settings *set, const char *name, const char *word)
{
    double depth_um = strncmp(word, "inf", 3) ? real_value(name, word, NOT_NEGATIVE) : 0.0;
    set->mu_per_m = depth_um > 0.0 ? 1.0 / (depth_um * 1e-6) : 0.0;
    if (depth_um == 0.0)
        set->thick_m = 0.0;
}

static void apply_effect(struct settings *set, enum effect effect)
{
    if (effect == TO_CUSTOM || effect == TO_CUSTOM_SAMPLE)
        set->convention = CUSTOM;
    if (effect == TO_BEAM)
        set->pivot = BEAM;
    if (effect == TO_SAMPLE || effect == TO_CUSTOM_SAMPLE)
        set->pivot = SAMPLE;
    if (effect == POLARISE)
        set->nopolar = OFF;
    if (effect == MAKE_NOISE)
        set->write_noise = ON;
    if (effect == MAKE_PGM)
        set->write_pgm = ON;
    if (effect == PRINT)
        set->printout = ON;
}

static void store_reals(void *field, const struct option *o, const char *name, char **words)
{
    double *target = field;
    double first = 0.0;
    for (int i = 0; i < o->values; i++) {
        target[i] = internal_units(real_value(name, words[i], o->range), o->units);
        if (!isfinite(target[i]))
            die("%s: expected a smaller number, found '%s'", name, words[i]);
        first = target[0];
    }
    for (int i = 1; i < o->copies; i++)
        target[i] = first;
    if (o->range == NONZERO_VECTOR && target[0] == 0.0 && target[1] == 0.0 && target[2] == 0.0)
        die("%s: expected a vector that is not zero", name);
}

static void store_integers(void *field, const struct option *o, const char *name, char **words)
{
    long *target = field;
    for (int i = 0; i < o->values; i++)
        target[i] = integer_value(name, words[i], o->range);
    for (int i = 1; i < o->copies; i++)
        target[i] = target[0];
}

/* Store one option; returns the number of words used up after its name. */
static int apply_option(struct settings *set, const struct option *o, const char *name, char **words, int available)
{
    void *field = (char *)set + o->field;
    if (o->kind == CELL)
        return read_cell(set, name, words, available);
    if (o->kind == MISSET)
        return read_misset(set, name, words, available);
    if (available < o->values)
        die("%s: expected %d value%s, found %d", name, o->values, o->values == 1 ? "" : "s", available);
    switch (o->kind) {
    case FLAG: memcpy(field, &o->flag, sizeof o->flag); break;
    case REAL: store_reals(field, o, name, words); break;
    case INTEGER: store_integers(field, o, name, words); break;
    case NAME: {
        char *word = name_value(name, words[0]);
        memcpy(field, &word, sizeof word);
        break;
    }
    case PIVOT: read_pivot(set, name, words[0]); break;
    case ABSORPTION: read_absorption(set, name, words[0]); break;
    default: break;
    }
    apply_effect(set, o->effect);
    return o->values;
}

/* Read all arguments from left to right into `set`. */
static void parse_arguments(struct settings *set, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (spelled("-h -help --help", argv[i])) {
            print_usage();
            exit(EXIT_SUCCESS);
        }
        if (argv[i][0] != '-')
            die("unexpected word '%s' (options start with '-')", argv[i]);
        const struct option *o = find_option(argv[i]);
        if (!o)
            die_unknown(argv[i]);
        i += apply_option(set, o, argv[i], argv + i + 1, argc - i - 1);
    }
}

/* ---------------------------------------------------------------------------------------------------------
 * 7. The simulation: settings with every automatic choice made, and what is derived from them
 * ------------------------------------------------------------------------------------------------------- */

struct detector {
    vec3 fdet, sdet, odet;           /* after all rotations */
    vec3 pix0;                       /* outer corner of pixel (0,0), m */
    vec3 beam, polar, spindle, twotheta_axis, vertical;
    double ratio;                    /* cosine between beam and normal, without two-theta */
    double distance_m, close_distance_m;
    double beam_m[2];                /* Fbeam, Sbeam */
    double near_m[2];                /* Fclose, Sclose */
    double org_px[2];
    double dials_origin_mm[3];
};

struct crystal {
    vec3 axis[3];                    /* a, b, c at phi = 0, m */
    vec3 axis_A[3];
    vec3 star[3];                    /* a*, b*, c*, 1/A */
    double volume_A3, star_volume;
};

struct grid {                        /* structure factors of all indices in a box */
    long reflections;                /* 0: no table */
    long min[3], max[3];
    long cells[3];                   /* along each axis, with the padding plane */
    double *F;                       /* l fastest */
};

struct source { vec3 direction; double weight, lambda_m; };   /* unit vector from crystal to source */

struct simulation {
    struct settings set;
    struct detector det;
    struct crystal xtal;
    struct grid grid;
    double thickstep_m, dispstep, background;
    long sources, steps;
    struct source *source;
    mat3 *domain;
    unsigned char *mask;             /* NULL: none */
    long mask_size[2];
    double misset_rad[3];
    vec3 carried[3];                 /* orientation that a whole sweep over phi leaves behind */
    bool carries;                    /* some step has phi = 0 and another one has not */
    long first_pixel;                /* first one evaluated in raster order */
    long latch_pixel;                /* where interpolation ends */
    double omega_sum;
    float *image;
};

/* ---------------------------------------------------------------------------------------------------------
 * 8. Input files
 * ------------------------------------------------------------------------------------------------------- */

/* Number after the '=' that follows the last occurrence of a key, as a sub-string, in an SMV header. */
static bool header_value(const char *header, const char *key, double *value)
{
    const char *found = NULL;
    for (const char *s = header; (s = strstr(s, key)); s++)
        found = s;
    if (!found || !(found = strchr(found, '=')))
        return false;
    char *end;
    double number = strtod(found + 1, &end);
    if (end == found + 1 || !isfinite(number))
        return false;
    *value = number;
    return true;
}

static void header_scaled(const char *header, const char *key, enum units units, double *value)
{
    double number;
    if (header_value(header, key, &number))
        *value = internal_units(number, units);
}

static void header_sizes(const char *name, const char *header, long size[2])
{
    double fast = 0.0, slow = 0.0;
    header_value(header, "SIZE1", &fast);
    header_value(header, "SIZE2", &slow);
    if (fast == 0.0) {
        header_value(header, "DETECTOR_DIMENSIONS", &fast);
        slow = fast;
    }
    if (!(fast >= 1.0 && slow >= 1.0 && fast * slow <= INT_MAX))
        die("%s: the header must give SIZE1 and SIZE2 in pixels, found %g and %g", name, fast, slow);
    size[0] = (long)fast;
    size[1] = (long)slow;
}

/* Let the header of an SMV file set geometry; returns its pixels and their number along each axis. */
static uint16_t *read_smv(struct settings *set, const char *name, bool is_mask, long size[2])
{
    struct text file = read_file(name);
    if (file.length < 512 || memcmp(file.bytes, "{\nHEADER_BYT", 12))
        die("%s: expected an SMV image starting with '{' and 'HEADER_BYTES='", name);
    char *header = allocate(file.length + 1, 1, name);
    double bytes = 512.0;
    memcpy(header, file.bytes, 512);
    header_value(header, "HEADER_BYTES", &bytes);
    if (!(bytes >= 512.0 && bytes <= (double)file.length))
        die("%s: HEADER_BYTES is %g, the file has %zu bytes", name, bytes, file.length);
    memcpy(header, file.bytes, (size_t)bytes);
    header[(size_t)bytes] = '\0';
    if (!strstr(header, "BYTE_ORDER"))
        die("%s: the header lacks BYTE_ORDER", name);
    header_sizes(name, header, size);
    size_t data = (size_t)size[0] * (size_t)size[1] * 2;
    if (file.length - (size_t)bytes < data)
        die("%s: expected %zu bytes of pixels after the header, found %zu", name, data, file.length - (size_t)bytes);

    set->pixels[0] = size[0];
    set->pixels[1] = size[1];
    header_scaled(header, "PIXEL_SIZE", MM, &set->pixel_m);
    set->size_m[0] = set->pixel_m * (double)size[0];
    set->size_m[1] = set->pixel_m * (double)size[1];
    header_scaled(header, "DISTANCE", MM, &set->distance_m);
    header_scaled(header, "CLOSE_DISTANCE", MM, &set->close_distance_m);
    header_scaled(header, "WAVELENGTH", ANGSTROM, &set->lambda_m);
    header_scaled(header, "BEAM_CENTER_X", MM, &set->beam_m[0]);
    double y;
    if (header_value(header, "BEAM_CENTER_Y", &y))
        set->beam_m[1] = is_mask ? set->size_m[1] - y / 1000.0 : y / 1000.0;
    header_scaled(header, "ORGX", PLAIN, &set->org_px[0]);
    header_scaled(header, "ORGY", PLAIN, &set->org_px[1]);
    header_scaled(header, "PHI", DEGREE, &set->phi_rad);
    header_scaled(header, "OSC_RANGE", DEGREE, &set->osc_rad);
    if (!(set->pixel_m > 0.0 && set->lambda_m > 0.0 && set->distance_m > 0.0) || set->close_distance_m <= 0.0)
        die("%s: PIXEL_SIZE, WAVELENGTH and distances in the header must be positive", name);

    uint16_t *pixels = allocate(data, 1, name);
    memcpy(pixels, file.bytes + (size_t)bytes, data);
    free(header);
    free(file.bytes);
    return pixels;
}

/* Mask first, then image, whatever their order on the command line; the image header wins. */
static void read_headers(struct simulation *sim, const char *mask_file, const char *image_file)
{
    if (mask_file) {
        uint16_t *values = read_smv(&sim->set, mask_file, true, sim->mask_size);
        size_t count = (size_t)(sim->mask_size[0] * sim->mask_size[1]);
        sim->mask = allocate(count, 1, "the mask");
        for (size_t i = 0; i < count; i++)
            sim->mask[i] = values[i] != 0;
        free(values);
    }
    if (image_file) {
        long size[2];
        free(read_smv(&sim->set, image_file, false, size));
    }
}

/* Numbers of a line, at most five; words that are not numbers stop the run, "nan" stands for a missing value. */
static int read_columns(const struct text *t, char *line, double *values)
{
    char *words[5];
    int found = split(line, " \t,;:!", words, 5);
    if (found == 0 || words[0][0] == '#')
        return 0;
    int n = found < 5 ? found : 5;
    for (int i = 0; i < n; i++)
        if (!is_number(words[i], &values[i]) || isinf(values[i]))
            die("%s:%ld: expected a number, found '%s'", t->name, t->line, words[i]);
    return n;
}

/* Orientation matrix: nine numbers, the columns are a*, b*, c* times the wavelength. */
static void read_matrix(const char *name, double lambda_m, vec3 star[3])
{
    struct text t = read_text(name);
    double m[9];
    int n = 0;
    for (char *line; n < 9 && (line = next_line(&t));)
        for (char *word = strtok(line, " \t\v\f"); word && n < 9; word = strtok(NULL, " \t\v\f"))
            if (!is_number(word, &m[n++]) || !isfinite(m[n - 1]))
                die("%s:%ld: expected a number, found '%s'", name, t.line, word);
    if (n < 9)
        die("%s:%ld: expected 9 numbers, found %d", name, t.line, n);
    double scale = 1e-10 / lambda_m;
    for (int i = 0; i < 3; i++)
        star[i] = scaled(vector(m[i], m[3 + i], m[6 + i]), scale);
    free(t.bytes);
}

static void allocate_grid(struct grid *grid, const char *name)
{
    double total = 1.0;
    for (int i = 0; i < 3; i++) {
        grid->cells[i] = grid->max[i] - grid->min[i] + 2;
        total *= (double)grid->cells[i];
    }
    if (total > INT_MAX)
        die("%s: the box of indices holds %.0f reflections, too many for a table", name, total);
    grid->F = allocate((size_t)total, sizeof(double), "the structure factors");
}

static inline double *grid_cell(const struct grid *grid, long h, long k, long l)
{
    return grid->F + ((h - grid->min[0]) * grid->cells[1] + (k - grid->min[1])) * grid->cells[2] + (l - grid->min[2]);
}

struct reflection { long hkl[3]; double F; };

/* One line "h k l F"; false at a blank line. */
static bool read_reflection(const struct text *t, char **words, int found, struct reflection *r)
{
    double value;
    if (found == 0)
        return false;
    if (found != 4)
        die("%s:%ld: expected h k l F, found %d word%s", t->name, t->line, found, found == 1 ? "" : "s");
    for (int i = 0; i < 3; i++) {
        char *end;
        r->hkl[i] = strtol(words[i], &end, 10);
        if (*end || labs(r->hkl[i]) > 1000000)
            die("%s:%ld: expected a whole index, found '%s'", t->name, t->line, words[i]);
    }
    if (!is_number(words[3], &value) || !isfinite(value))
        die("%s:%ld: expected a structure factor, found '%s'", t->name, t->line, words[3]);
    r->F = value;
    return true;
}

static void store_reflections(struct grid *grid, const struct reflection *list, double default_F)
{
    if (default_F != 0.0)
        for (long h = grid->min[0]; h <= grid->max[0]; h++)
            for (long k = grid->min[1]; k <= grid->max[1]; k++)
                for (long l = grid->min[2]; l <= grid->max[2]; l++)
                    *grid_cell(grid, h, k, l) = default_F;
    for (long i = 0; i < grid->reflections; i++)
        *grid_cell(grid, list[i].hkl[0], list[i].hkl[1], list[i].hkl[2]) = list[i].F;
}

/* Reflection list; it ends with the file or at the first line that does not begin with a number. */
static void read_hkl(struct grid *grid, const char *name, double default_F)
{
    struct text t = read_text(name);
    long room = 1024;
    struct reflection r, *list = allocate((size_t)room, sizeof *list, name);
    for (char *line, *words[4]; (line = next_line(&t));) {
        double value;
        int found = split(line, " \t\v\f", words, 4);
        if (found && !is_number(words[0], &value)) {
            if (!grid->reflections)
                die("%s:%ld: expected h k l F, found '%s'", name, t.line, words[0]);
            warn("%s:%ld: the list ends here, at '%s'", name, t.line, words[0]);
            break;
        }
        if (!read_reflection(&t, words, found, &r))
            continue;
        if (grid->reflections == room && !(list = realloc(list, (size_t)(room *= 2) * sizeof *list)))
            die("not enough memory for %s", name);
        for (int i = 0; i < 3; i++) {
            grid->min[i] = grid->reflections && grid->min[i] < r.hkl[i] ? grid->min[i] : r.hkl[i];
            grid->max[i] = grid->reflections && grid->max[i] > r.hkl[i] ? grid->max[i] : r.hkl[i];
        }
        list[grid->reflections++] = r;
    }
    if (!grid->reflections)
        die("%s: expected lines of h k l F, found none", name);
    allocate_grid(grid, name);
    store_reflections(grid, list, default_F);
    free(list);
    free(t.bytes);
}

/* Cache of an earlier run: six numbers as text, a newline, a form feed, then the table with its padding. */
static void read_dump(struct grid *grid, const char *name)
{
    struct text t = read_file(name);
    int start = -1;
    long *lo = grid->min, *hi = grid->max;
    if (sscanf(t.bytes, "%ld %ld %ld %ld %ld %ld%n", &lo[0], &hi[0], &lo[1], &hi[1], &lo[2], &hi[2], &start) != 6
        || start < 0 || memcmp(t.bytes + start, "\n\f", 2))
        die("%s: expected a structure-factor cache, found another kind of file", name);
    for (int i = 0; i < 3; i++)
        if (lo[i] > hi[i] || labs(lo[i]) > 1000000 || labs(hi[i]) > 1000000)
            die("%s: expected ranges of indices, found %ld to %ld", name, lo[i], hi[i]);
    allocate_grid(grid, name);
    size_t bytes = (size_t)(grid->cells[0] * grid->cells[1] * grid->cells[2]) * sizeof(double);
    size_t header = (size_t)start + 2;
    if (t.length - header != bytes)
        die("%s: expected %zu bytes of structure factors, found %zu", name, bytes, t.length - header);
    memcpy(grid->F, t.bytes + header, bytes);
    grid->reflections = (grid->cells[0] - 1) * (grid->cells[1] - 1) * (grid->cells[2] - 1);
    free(t.bytes);
}

/* Sources from a file; missing columns mean: on the beam axis, weight 1, the nominal wavelength. */
static void read_sources(struct simulation *sim, const char *name)
{
    struct text t = read_text(name);
    long room = 64;
    vec3 origin = scaled(sim->det.beam, -SOURCE_DISTANCE_M);
    sim->source = allocate((size_t)room, sizeof *sim->source, name);
    for (char *line; (line = next_line(&t));) {
        double v[5];
        int n = read_columns(&t, line, v);
        if (n == 0)
            continue;
        const double standard[5] = {origin.x, origin.y, origin.z, 1.0, sim->set.lambda_m};
        for (int i = 0; i < 5; i++)
            if (i >= n || isnan(v[i]))
                v[i] = standard[i];
        vec3 position = vector(v[0], v[1], v[2]);
        if (!(magnitude(position) > 0.0))
            die("%s:%ld: expected a position away from the crystal, found 0 0 0", name, t.line);
        if (!(v[4] > 0.0))
            die("%s:%ld: expected a positive wavelength in metres, found %g", name, t.line, v[4]);
        if (sim->sources == room && !(sim->source = realloc(sim->source, (size_t)(room *= 2) * sizeof *sim->source)))
            die("not enough memory for %s", name);
        sim->source[sim->sources++] = (struct source){position, v[3], v[4]};
    }
    if (!sim->sources)
        die("%s: expected lines of X Y Z weight wavelength, found none", name);
    free(t.bytes);
}

/* Amorphous scattering: never used, but the file must hold data. */
static void check_stol_file(const char *name)
{
    struct text t = read_text(name);
    double v[5];
    long rows = 0;
    for (char *line; (line = next_line(&t));)
        rows += read_columns(&t, line, v) > 0;
    if (!rows)
        die("%s: expected two columns of numbers, found none", name);
    free(t.bytes);
}

/* ---------------------------------------------------------------------------------------------------------
 * 9. Automatic choices
 * ------------------------------------------------------------------------------------------------------- */

static void resolve_detector_size(struct settings *set)
{
    double count[2];
    for (int i = 0; i < 2; i++) {
        if (set->pixels[i])
            set->size_m[i] = set->pixel_m * (double)set->pixels[i];
        count[i] = ceil(set->size_m[i] / set->pixel_m - 0.5);
    }
    if (!(count[0] >= 1.0 && count[1] >= 1.0 && count[0] * count[1] <= INT_MAX))
        die("the detector would have %.0f x %.0f pixels: -detsize, -detpixels and -pixel do not fit",
            fmax(count[0], 0.0), fmax(count[1], 0.0));
    set->pixels[0] = (long)count[0];
    set->pixels[1] = (long)count[1];
}

static void resolve_beam(struct settings *set)
{
    if (set->flux != 0.0 && set->exposure_s <= 0.0)
        die("-flux needs a positive -exposure, found %g s", set->exposure_s);
    if (set->flux != 0.0 && set->beamsize_m == 0.0)
        die("-flux needs a positive -beamsize, found 0 mm");
    if (set->flux != 0.0 && set->beamsize_m > 0.0)
        set->fluence = set->flux * set->exposure_s / set->beamsize_m / set->beamsize_m;
    if (set->beamsize_m < 0.0)
        return;
    for (int i = 1; i < 3; i++)
        if (set->sample_m[i] > set->beamsize_m) {
            warn("the crystal is clipped to the beam size along %c: %g mm", "abc"[i], set->beamsize_m * 1000.0);
            set->sample_m[i] = set->beamsize_m;
        }
}

/* Every step is the start of its interval, never the middle. */
static void resolve_phi(struct settings *set)
{
    if (set->phisteps < 0) {
        if (set->osc_rad < 0.0 && set->phistep_rad <= 0.0) {
            set->phisteps = 1;
            set->osc_rad = set->phistep_rad = 0.0;
        } else if (set->osc_rad < 0.0) {
            set->osc_rad = set->phistep_rad;
            set->phisteps = 2;
        } else if (set->phistep_rad <= 0.0) {
            set->phisteps = 2;
            set->phistep_rad = set->osc_rad / 2.0;
        } else {
            set->phisteps = (long)fmin(ceil(set->osc_rad / set->phistep_rad), INT_MAX);
        }
    } else if (set->osc_rad < 0.0) {
        set->phisteps = set->phisteps ? set->phisteps : 1;
        if (set->phistep_rad <= 0.0) {
            set->osc_rad = 1.0 / RTD;
            set->phistep_rad = set->osc_rad / (double)set->phisteps;
        } else {
            set->osc_rad = set->phistep_rad;
            set->phisteps = 2;
        }
    } else {
        set->phisteps = set->phisteps ? set->phisteps : 1;
        if (set->phistep_rad < 0.0)
            set->phistep_rad = set->osc_rad / (double)set->phisteps;
    }
    if (set->phisteps < 1)
        set->phisteps = 1;
}

static void resolve_steps(long *count, double *range, double *step, double range_of_a_count, double points_per_step)
{
    if (*count <= 0) {
        if (*range < 0.0) {
            *range = *step;
            *count = 2;
        } else if (*step <= 0.0) {
            *step = *range / points_per_step;
            *count = 2;
        } else {
            *count = (long)fmin(ceil(*range / *step), INT_MAX);
        }
    } else if (*range < 0.0 && *step <= 0.0) {
        *range = range_of_a_count;
        *step = *range / (double)*count;
    } else if (*range < 0.0) {
        *range = *step;
        *count = 2;
    } else if (*step <= 0.0) {
        *count = *count < 2 ? 2 : *count;
        *step = *range / (double)(*count - 1);
    }
    if (!(*range > 0.0 && *step > 0.0 && *count > 0)) {
        *count = 1;
        *range = *step = 0.0;
    }
}

/* Divergence, dispersion and sensor layers follow one table; the steps of the last two cannot be given. */
static void resolve_ranges(struct simulation *sim)
{
    struct settings *set = &sim->set;
    sim->dispstep = sim->thickstep_m = -1.0;
    for (int i = 0; i < 2; i++)
        resolve_steps(&set->divsteps[i], &set->divrange_rad[i], &set->divstep_rad[i], 1.0, 1.0);
    resolve_steps(&set->dispsteps, &set->dispersion, &sim->dispstep, 1.0, 1.0);
    resolve_steps(&set->thicksteps, &set->thick_m, &sim->thickstep_m, 0.5e-6, 2.0);
    if (set->thick_m > 0.0 && set->mu_per_m < 0.0) {
        set->mu_per_m = 1.0 / set->thick_m;
        warn("no -detector_abs: an attenuation depth of %g um is assumed", set->thick_m * 1e6);
    }
}

static void resolve_mosaic(struct settings *set)
{
    if (set->mosaic_spread_rad <= 0.0) {
        if (set->mosaic_domains > 1)
            warn("-mosaic_domains has no effect without -mosaic");
        set->mosaic_spread_rad = 0.0;
        set->mosaic_domains = 1;
    } else if (set->mosaic_domains <= 0) {
        set->mosaic_domains = 10;
    }
}

/* Decided from the cell counts of the command line, before crystal edges are turned into counts. */
static void resolve_interpolation(struct settings *set)
{
    if (set->interpolate != AUTOMATIC)
        return;
    set->interpolate = set->cells[0] <= 2 || set->cells[1] <= 2 || set->cells[2] <= 2;
    printf("auto-selected %s\n", set->interpolate ? "tricubic interpolation of structure factors"
                                                  : "no interpolation");
}

static void resolve_roi(struct settings *set)
{
    for (int i = 0; i < 2; i++) {
        long *lo = &set->roi[2 * i], *hi = &set->roi[2 * i + 1];
        if (*lo < 0)
            *lo = 0;
        if (*hi < 0)
            *hi = set->pixels[i];
        if (*lo > *hi || *lo >= set->pixels[i])
            die("-roi: expected first <= last within %ld pixels, found %ld to %ld", set->pixels[i], *lo, *hi);
    }
}

/* ---------------------------------------------------------------------------------------------------------
 * 10. Detector geometry
 * ------------------------------------------------------------------------------------------------------- */

struct convention_axes { vec3 beam, fdet, sdet, odet, twotheta, polar, spindle; enum pivot pivot; };

static const struct convention_axes built_in_axes[] = {
    [ADXV] = {{0, 0, 1}, {1, 0, 0}, {0, -1, 0}, {0, 0, 1}, {-1, 0, 0}, {1, 0, 0}, {1, 0, 0}, BEAM},
    [MOSFLM] = {{1, 0, 0}, {0, 0, 1}, {0, -1, 0}, {1, 0, 0}, {0, 0, -1}, {0, 0, 1}, {0, 0, 1}, BEAM},
    [DENZO] = {{1, 0, 0}, {0, 0, 1}, {0, -1, 0}, {1, 0, 0}, {0, 0, -1}, {0, 0, 1}, {0, 0, 1}, BEAM},
    [XDS] = {{0, 0, 1}, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 0, 0}, {1, 0, 0}, {1, 0, 0}, SAMPLE},
    [DIALS] = {{0, 0, 1}, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {0, 1, 0}, {0, 1, 0}, {0, 1, 0}, SAMPLE},
};

static vec3 from_array(const double v[3]) { return vector(v[0], v[1], v[2]); }

static void set_axes(struct detector *det, struct settings *set)
{
    struct convention_axes axes = {from_array(set->beam_vector), from_array(set->fdet_vector),
                                   from_array(set->sdet_vector), from_array(set->odet_vector),
                                   from_array(set->twotheta_axis), from_array(set->polar_vector),
                                   from_array(set->spindle_axis), (enum pivot)set->pivot};
    if (set->convention != CUSTOM)
        axes = built_in_axes[set->convention];
    set->pivot = axes.pivot;
    det->beam = unit(axes.beam);
    det->fdet = unit(axes.fdet);
    det->sdet = unit(axes.sdet);
    det->odet = axes.odet;
    det->twotheta_axis = axes.twotheta;         /* deliberately not normalised */
    det->polar = unit(axes.polar);
    det->spindle = unit(axes.spindle);
    if (magnitude(det->odet) != 1.0) {
        warn("the detector normal is not a unit vector; fast x slow is used");
        det->odet = unit(cross(det->fdet, det->sdet));
    }
    det->vertical = unit(cross(det->beam, det->polar));
}

static void default_to(double *value, double standard)
{
    if (isnan(*value))
        *value = standard;
}

/* Near point and direct beam, measured along fast and slow from the outer corner of pixel (0,0). */
static void set_beam_centre(struct detector *det, struct settings *set)
{
    const double pixel = set->pixel_m, fast = set->size_m[0], slow = set->size_m[1];
    double *X = &set->beam_m[0], *Y = &set->beam_m[1];
    for (int i = 0; i < 2; i++) {
        det->near_m[i] = isnan(set->org_px[i]) ? set->size_m[i] / 2.0 : (set->org_px[i] - 0.5) * pixel;
        default_to(&set->close_m[i], det->near_m[i]);
    }
    switch ((enum convention)set->convention) {
    case ADXV:
        default_to(X, (fast + pixel) / 2.0);
        default_to(Y, (slow - pixel) / 2.0);
        det->beam_m[0] = *X;
        det->beam_m[1] = slow - *Y;
        break;
    case MOSFLM:
        default_to(X, (slow + pixel) / 2.0);
        default_to(Y, (fast + pixel) / 2.0);
        det->beam_m[0] = *Y + 0.5 * pixel;
        det->beam_m[1] = *X + 0.5 * pixel;
        break;
    case DENZO:
        default_to(X, (slow + pixel) / 2.0);
        default_to(Y, (fast + pixel) / 2.0);
        det->beam_m[0] = *Y;
        det->beam_m[1] = *X;
        break;
    default:
        default_to(X, set->close_m[0]);
        default_to(Y, set->close_m[1]);
        det->beam_m[0] = *X;
        det->beam_m[1] = *Y;
    }
    if (set->convention == CUSTOM)
        for (int i = 0; i < 2; i++)
            det->near_m[i] = set->beam_m[i];
}

static vec3 rotate_detector(const struct detector *det, const struct settings *set, vec3 v)
{
    return rotate_axis(rotate_xyz(v, set->rotation_rad), det->twotheta_axis, set->twotheta_rad);
}

/* Two-theta is not contained in the ratio between distance and close distance. */
static void set_distances(struct detector *det, const struct settings *set)
{
    det->ratio = dot(det->beam, rotate_xyz(det->odet, set->rotation_rad));
    if (fabs(det->ratio) < 1e-12)
        die("the detector surface is parallel to the beam: check the rotations and -odet_vector");
    if (det->ratio < 0.0)
        warn("the detector faces away from the beam");
    det->close_distance_m = set->close_distance_m;
    if (isnan(det->close_distance_m))
        det->close_distance_m = fabs(det->ratio * set->distance_m);
    det->distance_m = det->close_distance_m / det->ratio;
}

static vec3 corner(const double along[2], vec3 fdet, vec3 sdet, double distance, vec3 direction)
{
    return vector(-along[0] * fdet.x - along[1] * sdet.x + distance * direction.x,
                  -along[0] * fdet.y - along[1] * sdet.y + distance * direction.y,
                  -along[0] * fdet.z - along[1] * sdet.z + distance * direction.z);
}

static void place_detector(struct detector *det, const struct settings *set)
{
    if (set->pivot == SAMPLE)
        det->pix0 = rotate_detector(det, set, corner(det->near_m, det->fdet, det->sdet, det->close_distance_m,
                                                     det->odet));
    det->fdet = rotate_detector(det, set, det->fdet);
    det->sdet = rotate_detector(det, set, det->sdet);
    det->odet = rotate_detector(det, set, det->odet);
    if (set->pivot == BEAM)
        det->pix0 = corner(det->beam_m, det->fdet, det->sdet, det->distance_m, det->beam);
}

/* What all later steps use: with two-theta these are not the user's distance and beam centre. */
static void recompute_centres(struct detector *det, const struct settings *set)
{
    det->near_m[0] = -dot(det->pix0, det->fdet);
    det->near_m[1] = -dot(det->pix0, det->sdet);
    det->close_distance_m = dot(det->pix0, det->odet);
    double along = det->close_distance_m / det->ratio;
    vec3 to_beam = sum3(scaled(det->beam, along), scaled(det->pix0, -1.0));
    det->beam_m[0] = dot(det->fdet, to_beam);
    det->beam_m[1] = dot(det->sdet, to_beam);
    det->distance_m = det->close_distance_m / det->ratio;
    for (int i = 0; i < 2; i++)
        det->org_px[i] = det->near_m[i] / set->pixel_m + 0.5;
    det->dials_origin_mm[0] = 1000.0 * dot(det->pix0, vector(0, 0, 1));
    det->dials_origin_mm[1] = 1000.0 * dot(det->pix0, vector(0, 1, 0));
    det->dials_origin_mm[2] = 1000.0 * dot(det->pix0, vector(-1, 0, 0));
}

static void build_detector(struct detector *det, struct settings *set)
{
    set_axes(det, set);
    set_beam_centre(det, set);
    set_distances(det, set);
    place_detector(det, set);
    recompute_centres(det, set);
    printf("%s convention selected.\n", convention_names[set->convention]);
    printf("pivoting detector around %s\n", set->pivot == SAMPLE ? "sample" : "direct beam spot");
}

/* ---------------------------------------------------------------------------------------------------------
 * 11. Crystal
 * ------------------------------------------------------------------------------------------------------- */

static double clamped(double value) { return value > 1.0 ? 1.0 : value < -1.0 ? -1.0 : value; }

static double cosine_star(double cosine, double cosine1, double cosine2, double sine1, double sine2)
{
    double c = (cosine1 * cosine2 - cosine) / (sine1 * sine2);
    return c * c > 1.0 ? 1.0 : c;
}

/* Volume and standard orientation of -cell: a* along x, b* in the xy plane.  With two or more oblique angles
 * the z component of c* is not that of the true reciprocal cell. */
static double orient_cell(const double cell[6], vec3 star[3])
{
    const double a = cell[0], b = cell[1], c = cell[2], al = cell[3], be = cell[4], ga = cell[5];
    double half = (al + be + ga) / 2.0;
    double skew = sin(half) * sin(half - al) * sin(half - be) * sin(half - ga);
    if (!(skew > 0.0))
        die("-cell: no cell has the angles %g %g %g", al * RTD, be * RTD, ga * RTD);
    double volume = 2.0 * a * b * c * sqrt(fabs(skew));
    double star_volume = 1.0 / volume;
    double a_star = b * c * sin(al) * star_volume;
    double b_star = c * a * sin(be) * star_volume;
    double c_star = a * b * sin(ga) * star_volume;
    double sin_ga_star = clamped(c * star_volume / a_star / b_star);
    double cos_al_star = cosine_star(cos(al), cos(be), cos(ga), sin(be), sin(ga));
    double cos_be_star = cosine_star(cos(be), cos(ga), cos(al), sin(ga), sin(al));
    double cos_ga_star = cosine_star(cos(ga), cos(al), cos(be), sin(al), sin(be));
    star[0] = vector(a_star, 0.0, 0.0);
    star[1] = vector(b_star * cos_ga_star, b_star * sin_ga_star, 0.0);
    star[2] = vector(c_star * cos_be_star, c_star * (cos_al_star - cos_be_star * cos_ga_star) / sin_ga_star,
                     c_star * volume / (a * b * c * sin_ga_star));
    return volume;
}

/* Rotations about x, y and z that are equivalent to a matrix. */
static void matrix_to_misset(const mat3 *u, double misset[3])
{
    double r[3][3];
    for (int i = 0; i < 3; i++) {
        vec3 row = unit(vector(u->m[i][0], u->m[i][1], u->m[i][2]));
        r[i][0] = row.x;
        r[i][1] = row.y;
        r[i][2] = row.z;
    }
    if (r[2][0] * r[2][0] < 1.0) {
        misset[0] = atan2(r[2][1], r[2][2]);
        misset[1] = atan2(-r[2][0], sqrt(r[2][1] * r[2][1] + r[2][2] * r[2][2]));
        misset[2] = atan2(r[1][0], r[0][0]);
    } else {
        misset[0] = M_PI;
        misset[1] = M_PI / 2.0;
        misset[2] = atan2(r[0][1], -r[1][1]);
    }
}

/* The cap of a random orientation is the number 90 taken as radians. */
static void choose_misset(struct simulation *sim)
{
    memcpy(sim->misset_rad, sim->set.misset_rad, sizeof sim->misset_rad);
    if (!sim->set.misset_random)
        return;
    long state = -sim->set.misset_seed;
    mat3 u = random_rotation(90.0f, &state);
    matrix_to_misset(&u, sim->misset_rad);
    printf("random orientation misset angles: %f %f %f deg\n", sim->misset_rad[0] * RTD, sim->misset_rad[1] * RTD,
           sim->misset_rad[2] * RTD);
}

/* Direct axes from the reciprocal ones and back, so that a.a* = 1 exactly; -cell imposes edges and volume. */
static void complete_axes(struct crystal *xtal, const struct settings *set, double cell_volume)
{
    vec3 *star = xtal->star, area[3];
    for (int i = 0; i < 3; i++)
        area[i] = cross(star[(i + 1) % 3], star[(i + 2) % 3]);
    xtal->star_volume = dot(star[0], area[0]);
    if (set->cell_given) {
        for (int i = 0; i < 3; i++)
            area[i] = scaled(area[i], set->cell[i] / cell_volume / magnitude(area[i]));
        xtal->star_volume = 1.0 / cell_volume;
    }
    if (xtal->star_volume == 0.0 || !isfinite(1.0 / xtal->star_volume))
        die("%s: the three axes lie in a plane", set->matrix_file ? set->matrix_file : "-cell");
    if (xtal->star_volume < 0.0)
        warn("%s: the axes are left-handed", set->matrix_file);
    xtal->volume_A3 = 1.0 / xtal->star_volume;
    for (int i = 0; i < 3; i++)
        xtal->axis_A[i] = scaled(area[i], xtal->volume_A3);
    for (int i = 0; i < 3; i++)
        star[i] = scaled(cross(xtal->axis_A[(i + 1) % 3], xtal->axis_A[(i + 2) % 3]), xtal->star_volume);
    for (int i = 0; i < 3; i++)
        xtal->axis[i] = scaled(xtal->axis_A[i], 1e-10);
}

static double angle_between(vec3 a, vec3 b) { return acos(clamped(dot(a, b) / (magnitude(a) * magnitude(b)))); }

/* Angle between two reciprocal axes by way of the direct cell, as the canonical program reckons it. */
static double star_angle(const struct crystal *xtal, int i)
{
    const vec3 *v = xtal->axis_A, *r = xtal->star;
    int j = (i + 1) % 3, k = (i + 2) % 3;
    double angle = angle_between(v[j], v[k]), angle1 = angle_between(v[k], v[i]), angle2 = angle_between(v[i], v[j]);
    double sine = magnitude(v[i]) * xtal->star_volume / magnitude(r[j]) / magnitude(r[k]);
    return atan2(sine, (cos(angle1) * cos(angle2) - cos(angle)) / (sin(angle1) * sin(angle2)));
}

static void print_cell(const struct crystal *xtal)
{
    const vec3 *sets[2] = {xtal->axis_A, xtal->star};
    for (int i = 0; i < 2; i++) {
        const vec3 *v = sets[i];
        printf("%s %g %g %g %g %g %g\n", i ? "Recp Cell:" : "Unit Cell:", magnitude(v[0]), magnitude(v[1]),
               magnitude(v[2]), angle_between(v[1], v[2]) * RTD, angle_between(v[2], v[0]) * RTD,
               angle_between(v[0], v[1]) * RTD);
    }
    printf("volume = %g A^3\n", xtal->volume_A3);
    for (int i = 0; i < 2; i++) {
        const vec3 *v = sets[i];
        printf("%s space:\nX: %12.8f %12.8f %12.8f\nY: %12.8f %12.8f %12.8f\nZ: %12.8f %12.8f %12.8f\n",
               i ? "reciprocal" : "real", v[0].x, v[1].x, v[2].x, v[0].y, v[1].y, v[2].y, v[0].z, v[1].z, v[2].z);
    }
}

static void build_crystal(struct simulation *sim)
{
    double cell_volume = 0.0;
    if (sim->set.cell_given)
        cell_volume = orient_cell(sim->set.cell, sim->xtal.star);
    if (sim->set.matrix_file)
        read_matrix(sim->set.matrix_file, sim->set.lambda_m, sim->xtal.star);
    choose_misset(sim);
    for (int i = 0; i < 3; i++)
        sim->xtal.star[i] = rotate_xyz(sim->xtal.star[i], sim->misset_rad);
    complete_axes(&sim->xtal, &sim->set, cell_volume);
    print_cell(&sim->xtal);
}

/* Whole cells from the crystal edges, then the sub-pixels that its narrowest fringe asks for. */
static void resolve_crystal_size(struct simulation *sim)
{
    struct settings *set = &sim->set;
    double width = 0.0;
    for (int i = 0; i < 3; i++) {
        double edge = magnitude(sim->xtal.axis[i]);
        if (set->sample_m[i] > 0.0)
            set->cells[i] = (long)fmin(ceil(set->sample_m[i] / edge), INT_MAX);
        if (set->cells[i] <= 1)
            set->cells[i] = 1;
        width = fmax(width, edge * (double)set->cells[i]);
    }
    printf("crystal is %g x %g x %g microns\n", (double)set->cells[0] * magnitude(sim->xtal.axis[0]) * 1e6,
           (double)set->cells[1] * magnitude(sim->xtal.axis[1]) * 1e6,
           (double)set->cells[2] * magnitude(sim->xtal.axis[2]) * 1e6);
    double reciprocal_pixel = set->lambda_m * sim->det.distance_m / set->pixel_m;
    double recommended = fmax(ceil(3.0 * width / reciprocal_pixel), 1.0);
    if (!(recommended < 1e4) && set->oversample <= 0)
        die("-oversample: %.0f sub-pixels along each axis would be needed; give a number", recommended);
    if (set->oversample <= 0) {
        set->oversample = (long)recommended;
        printf("auto-selected %ld-fold oversampling\n", set->oversample);
    } else if ((double)set->oversample < recommended) {
        warn("-oversample %ld may be too coarse for this crystal; %.0f is recommended", set->oversample, recommended);
    }
    printf("approximate MW = %g\n", sim->xtal.volume_A3 * 1e-30 * CRYSTAL_DENSITY * AVOGADRO);
}

/* ---------------------------------------------------------------------------------------------------------
 * 12. Sources, mosaic domains, background
 * ------------------------------------------------------------------------------------------------------- */

/* Elliptical trimming; a range of zero makes 0/0, the comparison false, and nothing is trimmed. */
static bool outside_ellipse(const struct settings *set, double h, double v)
{
    const double *step = set->divstep_rad, *range = set->divrange_rad;
    double e = (h * h - (step[0] * step[0] / 4.0) * (double)(1 - set->divsteps[0] % 2)) / range[0] / range[0]
             + (v * v - (step[1] * step[1] / 4.0) * (double)(1 - set->divsteps[1] % 2)) / range[1] / range[1];
    return set->round_divergence && e * 4.0 > 1.1;
}

static void generate_sources(struct simulation *sim)
{
    const struct settings *set = &sim->set;
    double most = (double)set->divsteps[0] * (double)set->divsteps[1] * (double)set->dispsteps;
    if (most > 1e8)
        die("%.0f sources: too many steps of divergence and dispersion", most);
    sim->source = allocate((size_t)most, sizeof *sim->source, "the sources");
    for (long i = 0; i < set->divsteps[0]; i++)
        for (long j = 0; j < set->divsteps[1]; j++) {
            double h = set->divstep_rad[0] * (double)i - set->divrange_rad[0] / 2.0;
            double v = set->divstep_rad[1] * (double)j - set->divrange_rad[1] / 2.0;
            if (outside_ellipse(set, h, v))
                continue;
            vec3 position = scaled(sim->det.beam, -SOURCE_DISTANCE_M);
            position = rotate_axis(position, sim->det.polar, v);
            position = rotate_axis(position, sim->det.vertical, h);
            for (long k = 0; k < set->dispsteps; k++)
                sim->source[sim->sources++] = (struct source){
                    position, 1.0, set->lambda_m * (1.0 + sim->dispstep * (double)k - set->dispersion / 2.0)};
        }
    if (!sim->sources)
        die("no source is left: -divsteps, -hdivsteps or -vdivsteps without a range trims all of them");
    for (long i = 0; i < sim->sources; i++)
        sim->source[i].weight = 1.0 / (double)sim->sources;
    if (!(sim->source[0].lambda_m > 0.0))
        die("-dispersion: the shortest wavelength, %g A, is not positive", sim->source[0].lambda_m * 1e10);
}

static void build_sources(struct simulation *sim)
{
    if (sim->set.source_file)
        read_sources(sim, sim->set.source_file);
    else
        generate_sources(sim);
    printf("created a total of %ld sources:\n", sim->sources);
    for (long i = 0; i < sim->sources; i++) {
        struct source *s = &sim->source[i];
        printf("%g %g %g   %g %g\n", s->direction.x, s->direction.y, s->direction.z, s->weight, s->lambda_m);
        s->direction = unit(s->direction);
    }
}

/* The random numbers of the first domain are drawn, then it is replaced by the identity. */
static void build_domains(struct simulation *sim)
{
    long state = -sim->set.mosaic_seed, count = sim->set.mosaic_domains;
    sim->domain = allocate((size_t)count, sizeof *sim->domain, "the mosaic domains");
    for (long i = 0; i < count; i++)
        sim->domain[i] = random_rotation((float)sim->set.mosaic_spread_rad, &state);
    sim->domain[0] = (mat3){{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
    printf("created a total of %ld mosaic domains\n", count);
}

/* The result already holds r_e^2 x fluence and is multiplied by it once more at the end. */
static double water_background(const struct settings *set)
{
    double w = set->water_m;
    return WATER_F * WATER_F * R_E_SQR * set->fluence * w * w * w * 1e6 * AVOGADRO / WATER_MW;
}

static double phi_of_step(const struct settings *set, long step)
{
    return set->phi_rad + set->phistep_rad * (double)step;
}

/* Orientation left behind by a whole sweep over phi: that of the last step whose angle is not zero. */
static void prepare_carry_over(struct simulation *sim)
{
    bool any_zero = false;
    memcpy(sim->carried, sim->xtal.axis, sizeof sim->carried);
    for (long step = 0; step < sim->set.phisteps; step++) {
        double phi = phi_of_step(&sim->set, step);
        any_zero |= phi == 0.0;
        for (int i = 0; i < 3 && phi != 0.0; i++)
            sim->carried[i] = rotate_axis(sim->xtal.axis[i], sim->det.spindle, phi);
        sim->carries |= phi != 0.0;
    }
    sim->carries &= any_zero;
}

/* ---------------------------------------------------------------------------------------------------------
 * 13. Evaluations: sub-pixel, ray, term
 * ------------------------------------------------------------------------------------------------------- */

struct subpixel {
    long layer, s, f;                /* indices */
    double Fdet_m, Sdet_m, Odet_m;
    vec3 position_m, diffracted;
    double airpath_m;
};

struct ray {
    long source;
    vec3 incident;
    double lambda_m;
    vec3 scattering;                 /* 1/m */
    double stol;                     /* sin(theta)/lambda, 1/m */
    double cos2theta;
};

struct term {
    long phi_step, domain;
    double phi_rad;
    vec3 a, b, c;                    /* m */
    double h, k, l;
    long h0, k0, l0;                 /* nearest integers, halves down */
    double latt_a, latt_b, latt_c;   /* square shape */
    double rad_star_sqr, hrad_sqr;   /* other shapes */
    double F_latt, F_cell, intensity;
};

struct watcher;                      /* section 16: prints what happens in one pixel */

/* All that changes while a pixel is computed. */
struct progress {
    double I;
    double omega, polar, capture;    /* the cached factors: 0 until computed */
    double omega_sum;
    vec3 a, b, c;                    /* after the spindle, before the mosaic rotation; survives a step at phi = 0 */
    bool interpolate;
    struct watcher *watcher;         /* NULL: nobody looks */
};

static void watch_subpixel(struct watcher *w, const struct simulation *sim, const struct progress *p,
                           const struct subpixel *sub);
static void watch_ray(struct watcher *w, const struct progress *p, const struct subpixel *sub, const struct ray *ray);
static void watch_term(struct watcher *w, const struct simulation *sim, const struct progress *p,
                       const struct subpixel *sub, const struct ray *ray, const struct term *term);

/* The flat pixel turned about the fast and slow axes by its laboratory z and y coordinates. */
static vec3 bend(const struct detector *det, vec3 flat)
{
    vec3 v = scaled(det->beam, det->distance_m);
    v = rotate_axis(v, det->sdet, flat.y / det->distance_m);
    return rotate_axis(v, det->fdet, flat.z / det->distance_m);
}

static struct subpixel make_subpixel(const struct simulation *sim, long fast, long slow, long layer, long s, long f)
{
    const struct detector *det = &sim->det;
    struct subpixel sub = {.layer = layer, .s = s, .f = f};
    double size = sim->set.pixel_m / (double)sim->set.oversample;
    sub.Fdet_m = size * (double)(fast * sim->set.oversample + f) + size / 2.0;
    sub.Sdet_m = size * (double)(slow * sim->set.oversample + s) + size / 2.0;
    sub.Odet_m = (double)layer * sim->thickstep_m;
    sub.position_m.x = sub.Fdet_m * det->fdet.x + sub.Sdet_m * det->sdet.x + sub.Odet_m * det->odet.x + det->pix0.x;
    sub.position_m.y = sub.Fdet_m * det->fdet.y + sub.Sdet_m * det->sdet.y + sub.Odet_m * det->odet.y + det->pix0.y;
    sub.position_m.z = sub.Fdet_m * det->fdet.z + sub.Sdet_m * det->sdet.z + sub.Odet_m * det->odet.z + det->pix0.z;
    if (sim->set.curved_detector)
        sub.position_m = bend(det, sub.position_m);
    sub.airpath_m = magnitude(sub.position_m);
    sub.diffracted = unit(sub.position_m);
    return sub;
}

static double solid_angle(const struct simulation *sim, double airpath)
{
    const double pixel = sim->set.pixel_m;
    if (sim->set.point_pixel)
        return 1.0 / airpath / airpath;
    return pixel * pixel / airpath / airpath * sim->det.close_distance_m / airpath;
}

static double capture_fraction(const struct simulation *sim, const struct subpixel *sub)
{
    double parallax = dot(sub->diffracted, sim->det.odet);
    double layer = (double)sub->layer, step = sim->thickstep_m, mu = sim->set.mu_per_m;
    return exp(-layer * step * mu / parallax) - exp(-(layer + 1.0) * step * mu / parallax);
}

static inline struct ray make_ray(const struct simulation *sim, long source, vec3 diffracted)
{
    struct ray ray = {.source = source, .lambda_m = sim->source[source].lambda_m};
    vec3 from = sim->source[source].direction;
    ray.incident = vector(-from.x, -from.y, -from.z);
    ray.scattering.x = (diffracted.x - ray.incident.x) / ray.lambda_m;
    ray.scattering.y = (diffracted.y - ray.incident.y) / ray.lambda_m;
    ray.scattering.z = (diffracted.z - ray.incident.z) / ray.lambda_m;
    ray.stol = 0.5 * magnitude(ray.scattering);
    return ray;
}

static inline bool beyond_resolution(const struct settings *set, const struct ray *ray)
{
    return set->dmin_m > 0.0 && ray->stol > 0.0 && set->dmin_m > 0.5 / ray->stol;
}

/* Polarisation factor after Kahn; normalises the two directions in place, as the canonical program does. */
static double polarisation(const struct simulation *sim, vec3 *incident, vec3 *diffracted)
{
    *incident = unit(*incident);
    *diffracted = unit(*diffracted);
    double cos2theta = dot(*incident, *diffracted), cos_sqr = cos2theta * cos2theta;
    double sin_sqr = 1.0 - cos_sqr, psi = 0.0;
    if (sim->set.kahn_factor != 0.0) {
        vec3 B_in = unit(cross(sim->det.polar, *incident));
        vec3 E_in = unit(cross(*incident, B_in));
        psi = -atan2(dot(*diffracted, B_in), dot(*diffracted, E_in));
    }
    return 0.5 * (1.0 + cos_sqr - sim->set.kahn_factor * cos(2.0 * psi) * sin_sqr);
}

/* Structure factor at the nearest index: from the table inside its box, else the default. */
static inline double nearest_F(const struct simulation *sim, long h, long k, long l)
{
    const struct grid *g = &sim->grid;
    if (g->reflections && h >= g->min[0] && h <= g->max[0] && k >= g->min[1] && k <= g->max[1]
        && l >= g->min[2] && l <= g->max[2])
        return *grid_cell(g, h, k, l);
    return sim->set.default_F;
}

/* Four-point Lagrange cubic through (x[i], y[i]). */
static double cubic(const double x[4], const double y[4], double at)
{
    double y0 = (at - x[1]) * (at - x[2]) * (at - x[3]) * y[0] / ((x[0] - x[1]) * (x[0] - x[2]) * (x[0] - x[3]));
    double y1 = (at - x[0]) * (at - x[2]) * (at - x[3]) * y[1] / ((x[1] - x[0]) * (x[1] - x[2]) * (x[1] - x[3]));
    double y2 = (at - x[0]) * (at - x[1]) * (at - x[3]) * y[2] / ((x[2] - x[0]) * (x[2] - x[1]) * (x[2] - x[3]));
    double y3 = (at - x[0]) * (at - x[1]) * (at - x[2]) * y[3] / ((x[3] - x[0]) * (x[3] - x[1]) * (x[3] - x[2]));
    return y0 + y1 + y2 + y3;
}

static bool neighbourhood_inside(const struct grid *g, double h, double k, double l)
{
    const double at[3] = {h, k, l};
    for (int i = 0; i < 3; i++) {
        double lo = (double)g->min[i], range = (double)(g->max[i] - g->min[i] + 1);
        if (!(at[i] - lo + 3.0 <= range && at[i] - 2.0 >= lo))
            return false;
    }
    return true;
}

/* Tricubic interpolation on the 4 x 4 x 4 neighbourhood: l innermost, then k, then h. */
static double tricubic_F(const struct simulation *sim, double h, double k, double l)
{
    long first[3] = {(long)floor(h) - 1, (long)floor(k) - 1, (long)floor(l) - 1};
    double node[3][4], plane[4], row[4];
    for (int axis = 0; axis < 3; axis++)
        for (int i = 0; i < 4; i++)
            node[axis][i] = (double)(first[axis] + i);
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++)
            row[j] = cubic(node[2], grid_cell(&sim->grid, first[0] + i, first[1] + j, first[2]), l);
        plane[i] = cubic(node[1], row, k);
    }
    return cubic(node[0], plane, h);
}

/* The first neighbourhood that leaves the table ends interpolation, for this evaluation and all later ones. */
static inline double structure_factor(const struct simulation *sim, struct progress *p, const struct term *t)
{
    if (p->interpolate) {
        if (neighbourhood_inside(&sim->grid, t->h, t->k, t->l))
            return tricubic_F(sim, t->h, t->k, t->l);
        p->interpolate = false;
    }
    return nearest_F(sim, t->h0, t->k0, t->l0);
}

/* Interference of N cells in a row. */
static inline double sincg(double x, double N)
{
    return x == 0.0 ? N : sin(x * N) / sin(x);
}

/* Transform of a sphere. */
static inline double sinc3(double x)
{
    return x == 0.0 ? 1.0 : 3.0 * (sin(x) / x - cos(x)) / (x * x);
}

static inline double square_lattice(const long N[3], struct term *t)
{
    double F = 1.0;
    t->latt_a = t->latt_b = t->latt_c = 1.0;
    if (N[0] > 1)
        F *= t->latt_a = sincg(M_PI * t->h, (double)N[0]);
    if (N[1] > 1)
        F *= t->latt_b = sincg(M_PI * t->k, (double)N[1]);
    if (N[2] > 1)
        F *= t->latt_c = sincg(M_PI * t->l, (double)N[2]);
    return F;
}

/* Round, Gaussian and flat-top spots.  The squared distance from the reciprocal-lattice point, in 1/A^2, is
 * multiplied by the square of the product of the three cell counts. */
static double spot_lattice(const struct simulation *sim, struct term *t)
{
    const double Na = (double)sim->set.cells[0], Nb = (double)sim->set.cells[1], Nc = (double)sim->set.cells[2];
    const double dh = t->h - (double)t->h0, dk = t->k - (double)t->k0, dl = t->l - (double)t->l0;
    const double fudge = sim->set.fudge;
    const vec3 *star = sim->xtal.star;
    vec3 delta = {dh * star[0].x + dk * star[1].x + dl * star[2].x,
                  dh * star[0].y + dk * star[1].y + dl * star[2].y,
                  dh * star[0].z + dk * star[1].z + dl * star[2].z};
    t->rad_star_sqr = dot(delta, delta) * Na * Na * Nb * Nb * Nc * Nc;
    if (sim->set.shape == ROUND) {
        t->hrad_sqr = dh * dh * Na * Na + dk * dk * Nb * Nb + dl * dl * Nc * Nc;
        return Na * Nb * Nc * 0.723601254558268 * sinc3(M_PI * sqrt(t->hrad_sqr * fudge));
    }
    if (sim->set.shape == GAUSS)
        return Na * Nb * Nc * exp(-(t->rad_star_sqr / 0.63 * fudge));
    return t->rad_star_sqr * fudge < 0.3969 ? Na * Nb * Nc : 0.0;
}

static inline void turn_domain(const struct simulation *sim, const struct progress *p, struct term *t)
{
    t->a = p->a;
    t->b = p->b;
    t->c = p->c;
    if (sim->set.mosaic_spread_rad > 0.0) {
        const mat3 *u = &sim->domain[t->domain];
        t->a = multiply(u, p->a);
        t->b = multiply(u, p->b);
        t->c = multiply(u, p->c);
    }
}

/* One evaluation: one mosaic domain at one spindle angle, for one ray. */
static inline void add_term(const struct simulation *sim, struct progress *p, const struct subpixel *sub,
                            const struct ray *ray, struct term *t)
{
    const struct settings *set = &sim->set;
    turn_domain(sim, p, t);
    t->h = dot(t->a, ray->scattering);
    t->k = dot(t->b, ray->scattering);
    t->l = dot(t->c, ray->scattering);
    t->h0 = (long)ceil(t->h - 0.5);
    t->k0 = (long)ceil(t->k - 0.5);
    t->l0 = (long)ceil(t->l - 0.5);
    t->F_latt = set->shape == SQUARE ? square_lattice(set->cells, t) : spot_lattice(sim, t);
    if (t->F_latt == 0.0 && set->water_m == 0.0)
        return;
    t->F_cell = structure_factor(sim, p, t);
    t->intensity = t->F_cell * t->F_cell * t->F_latt * t->F_latt;
    p->I += t->intensity;
    if (p->watcher)
        watch_term(p->watcher, sim, p, sub, ray, t);
    if (set->oversample_thick)
        p->I *= p->capture;
    if (set->oversample_polar)
        p->I *= p->polar;
    if (set->oversample_omega)
        p->I *= p->omega;
}

/* The sweep over phi; a step at exactly zero keeps the orientation of the step before it. */
static void add_sweep(const struct simulation *sim, struct progress *p, const struct subpixel *sub,
                      const struct ray *ray)
{
    struct term t = {0};
    for (t.phi_step = 0; t.phi_step < sim->set.phisteps; t.phi_step++) {
        t.phi_rad = phi_of_step(&sim->set, t.phi_step);
        if (t.phi_rad != 0.0) {
            p->a = rotate_axis(sim->xtal.axis[0], sim->det.spindle, t.phi_rad);
            p->b = rotate_axis(sim->xtal.axis[1], sim->det.spindle, t.phi_rad);
            p->c = rotate_axis(sim->xtal.axis[2], sim->det.spindle, t.phi_rad);
        }
        for (t.domain = 0; t.domain < sim->set.mosaic_domains; t.domain++)
            add_term(sim, p, sub, ray, &t);
    }
}

static void add_subpixel(const struct simulation *sim, struct progress *p, struct subpixel *sub)
{
    const struct settings *set = &sim->set;
    if (p->omega == 0.0 || set->oversample_omega)
        p->omega = solid_angle(sim, sub->airpath_m);
    p->omega_sum += p->omega;
    if (p->capture == 0.0 || set->oversample_thick)
        p->capture = capture_fraction(sim, sub);
    if (p->watcher)
        watch_subpixel(p->watcher, sim, p, sub);
    for (long i = 0; i < sim->sources; i++) {
        struct ray ray = make_ray(sim, i, sub->diffracted);
        if (beyond_resolution(set, &ray))
            continue;
        if (p->polar == 0.0 || set->oversample_polar)
            p->polar = polarisation(sim, &ray.incident, &sub->diffracted);
        if (p->watcher)
            watch_ray(p->watcher, p, sub, &ray);
        add_sweep(sim, p, sub, &ray);
    }
}

/* Photons in one pixel, in double precision.  Loop order: layer, slow and fast sub-pixel, source, phi, domain.
 * The capture fraction is cached per layer, so that the one of the last layer is applied to the whole sum. */
static double pixel_photons(const struct simulation *sim, struct progress *p, long pixel)
{
    const struct settings *set = &sim->set;
    const long fast = pixel % set->pixels[0], slow = pixel / set->pixels[0];
    const bool first = pixel == sim->first_pixel;
    p->a = first ? sim->xtal.axis[0] : sim->carried[0];
    p->b = first ? sim->xtal.axis[1] : sim->carried[1];
    p->c = first ? sim->xtal.axis[2] : sim->carried[2];
    p->I = sim->background;
    p->omega = p->omega_sum = 0.0;
    p->polar = set->nopolar ? 1.0 : 0.0;
    for (long layer = 0; layer < set->thicksteps; layer++) {
        p->capture = set->thick_m > 0.0 ? 0.0 : 1.0;
        for (long s = 0; s < set->oversample; s++)
            for (long f = 0; f < set->oversample; f++) {
                struct subpixel sub = make_subpixel(sim, fast, slow, layer, s, f);
                add_subpixel(sim, p, &sub);
            }
    }
    double photons = R_E_SQR * set->fluence * p->I / (double)sim->steps;
    if (!set->oversample_thick)
        photons *= p->capture;
    if (!set->oversample_polar)
        photons *= p->polar;
    if (!set->oversample_omega)
        photons *= p->omega;
    return photons;
}

/* ---------------------------------------------------------------------------------------------------------
 * 14. The image.  Rows are shared out among threads; what depends on the order of the pixels is settled
 *     beforehand (the first pixel of the run) or afterwards (where interpolation ends).
 * ------------------------------------------------------------------------------------------------------- */

static bool in_roi(const struct settings *set, long fast, long slow)
{
    return fast >= set->roi[0] && fast <= set->roi[1] && slow >= set->roi[2] && slow <= set->roi[3];
}

static bool is_rendered(const struct simulation *sim, long pixel)
{
    long width = sim->set.pixels[0];
    return in_roi(&sim->set, pixel % width, pixel / width) && (!sim->mask || sim->mask[pixel]);
}

static long pixel_count(const struct simulation *sim) { return sim->set.pixels[0] * sim->set.pixels[1]; }

/* Does any ray of this pixel lie within the resolution limit? */
static bool is_evaluated(const struct simulation *sim, long pixel)
{
    const struct settings *set = &sim->set;
    long fast = pixel % set->pixels[0], slow = pixel / set->pixels[0];
    for (long layer = 0; layer < set->thicksteps; layer++)
        for (long i = 0; i < set->oversample * set->oversample; i++) {
            struct subpixel sub = make_subpixel(sim, fast, slow, layer, i / set->oversample, i % set->oversample);
            for (long s = 0; s < sim->sources; s++) {
                struct ray ray = make_ray(sim, s, sub.diffracted);
                if (!beyond_resolution(set, &ray))
                    return true;
            }
        }
    return false;
}

/* The one pixel whose first step at phi = 0 is not preceded by another step. */
static long find_first_pixel(const struct simulation *sim)
{
    if (!sim->carries)
        return -1;
    for (long pixel = 0; pixel < pixel_count(sim); pixel++)
        if (is_rendered(sim, pixel) && (sim->set.dmin_m <= 0.0 || is_evaluated(sim, pixel)))
            return pixel;
    return -1;
}

/* Compute pixels first..last; with interpolation up to the latch, which is lowered at the first refusal.
 * Returns the last pixel that was computed with interpolation, or -1. */
static long render_span(struct simulation *sim, long first, long last, long *latch, double *omega_sum)
{
    long interpolated = -1;
    for (long pixel = first; pixel <= last; pixel++) {
        if (!is_rendered(sim, pixel))
            continue;
        long until;
        #pragma omp atomic read
        until = *latch;
        struct progress p = {.interpolate = pixel <= until};
        sim->image[pixel] = (float)pixel_photons(sim, &p, pixel);
        *omega_sum += p.omega_sum;
        if (pixel > until)
            continue;
        interpolated = pixel;
        if (!p.interpolate) {
            #pragma omp critical(latch)
            if (pixel < *latch) {
                #pragma omp atomic write
                *latch = pixel;
            }
        }
    }
    return interpolated;
}

static void report_progress(const struct simulation *sim, long *rows_done, int *percent_shown)
{
    #pragma omp critical(progress)
    {
        int percent = (int)(100 * ++*rows_done / sim->set.pixels[1]);
        if (sim->set.progress && percent / 5 > *percent_shown / 5 && percent < 100) {
            printf("%d%% done\n", percent / 5 * 5);
            fflush(stdout);
            *percent_shown = percent;
        }
    }
}

/* Raster order decides where interpolation ends; pixels beyond, that were interpolated by a thread running
 * ahead, are computed again. */
static void render_image(struct simulation *sim)
{
    const long width = sim->set.pixels[0], height = sim->set.pixels[1];
    long rows_done = 0, latch = sim->set.interpolate ? pixel_count(sim) : -1;
    int percent_shown = 0;
    sim->image = allocate((size_t)pixel_count(sim), sizeof(float), "the image");
    long *interpolated = allocate((size_t)height, sizeof *interpolated, "the rows");
    double *omega = allocate((size_t)height, sizeof *omega, "the rows");
    sim->first_pixel = find_first_pixel(sim);

    #pragma omp parallel for schedule(dynamic, 1)
    for (long row = 0; row < height; row++) {
        interpolated[row] = render_span(sim, row * width, row * width + width - 1, &latch, &omega[row]);
        if (!sim->set.printout)
            report_progress(sim, &rows_done, &percent_shown);
    }
    sim->latch_pixel = latch;
    long closed = -1;
    #pragma omp parallel for schedule(dynamic, 1)
    for (long row = 0; row < height; row++) {
        double repeated = 0.0;
        long first = row * width > sim->latch_pixel ? row * width : sim->latch_pixel + 1;
        if (interpolated[row] > sim->latch_pixel)
            render_span(sim, first, interpolated[row], &closed, &repeated);
    }
    for (long row = 0; row < height; row++)
        sim->omega_sum += omega[row];
    if (sim->set.interpolate && latch < pixel_count(sim))
        warn("interpolation left the list of reflections at pixel %ld %ld and is off from there on", latch % width,
             latch / width);
    free(interpolated);
    free(omega);
}

/* ---------------------------------------------------------------------------------------------------------
 * 15. Statistics
 * ------------------------------------------------------------------------------------------------------- */

struct statistics {
    double max, max_fast_m, max_slow_m;     /* position: centre of the last sub-pixel */
    double sum, mean, rms, rmsd;
};

/* Mean and rms run over rendered pixels, rmsd over the whole region of interest, masked pixels included. */
static struct statistics image_statistics(const struct simulation *sim)
{
    struct statistics st = {0};
    double squares = 0.0, deviations = 0.0;
    long rendered = 0, inside = 0, width = sim->set.pixels[0], count = pixel_count(sim);
    for (long i = 0; i < count; i++) {
        if (!is_rendered(sim, i))
            continue;
        float x = sim->image[i], square = x * x;
        st.sum += x;
        squares += square;
        rendered++;
        if (x > st.max) {
            long last = sim->set.oversample - 1;
            struct subpixel sub = make_subpixel(sim, i % width, i / width, 0, last, last);
            st.max = x;
            st.max_fast_m = sub.Fdet_m;
            st.max_slow_m = sub.Sdet_m;
        }
    }
    st.mean = st.sum / (double)(rendered ? rendered : 1);
    st.rms = sqrt(squares / (double)(rendered > 1 ? rendered - 1 : 1));
    for (long i = 0; i < count; i++)
        if (in_roi(&sim->set, i % width, i / width)) {
            deviations += (sim->image[i] - st.mean) * (sim->image[i] - st.mean);
            inside++;
        }
    st.rmsd = sqrt(deviations / (double)(inside > 1 ? inside - 1 : 1));
    return st;
}

/* ---------------------------------------------------------------------------------------------------------
 * 16. Looking into a pixel: -trace_pixel and -printout
 * ------------------------------------------------------------------------------------------------------- */

struct watcher {
    bool trace;                       /* print lists while they arise */
    bool any_subpixel, any_ray, any_term;
    struct { struct subpixel sub; double omega, capture; } first_subpixel;
    struct { struct ray ray; double polar; } first_ray;
    struct { struct term term; double I; bool interpolate; } first_term;
    struct subpixel last_subpixel;
    struct ray last_ray;
    struct term last_term;
};

static void put(const char *prefix, const char *name, double value)
{
    printf("TRACE %s %s %.17g\n", prefix, name, value);
}

static void put_count(const char *prefix, const char *name, long value)
{
    printf("TRACE %s %s %ld\n", prefix, name, value);
}

static void put_vector(const char *prefix, const char *name, vec3 v)
{
    printf("TRACE %s %s %.17g %.17g %.17g\n", prefix, name, v.x, v.y, v.z);
}

static void put_subpixel(const char *prefix, const struct simulation *sim, const struct subpixel *sub, double omega,
                         double capture)
{
    put(prefix, "Fdet_m", sub->Fdet_m);
    put(prefix, "Sdet_m", sub->Sdet_m);
    put(prefix, "Odet_m", sub->Odet_m);
    put_vector(prefix, "pixel_pos_m", sub->position_m);
    put_vector(prefix, "diffracted", sub->diffracted);
    put(prefix, "airpath_m", sub->airpath_m);
    put(prefix, "omega_pixel_sr", omega);
    put(prefix, "capture_fraction", capture);
    put(prefix, "parallax", dot(sub->diffracted, sim->det.odet));
    put(prefix, "obliquity", sim->det.close_distance_m / sub->airpath_m);
}

static void put_ray(const char *prefix, const struct ray *ray, double polar)
{
    put_vector(prefix, "incident", ray->incident);
    put(prefix, "lambda_m", ray->lambda_m);
    put_vector(prefix, "scattering_per_m", ray->scattering);
    put(prefix, "stol_per_m", ray->stol);
    put(prefix, "polar", polar);
    put(prefix, "cos2theta", ray->cos2theta);
}

static void put_term(const char *prefix, enum shape shape, const struct term *t, double I, bool interpolate)
{
    put(prefix, "phi_rad", t->phi_rad);
    put_vector(prefix, "a_A", scaled(t->a, 1e10));
    put_vector(prefix, "b_A", scaled(t->b, 1e10));
    put_vector(prefix, "c_A", scaled(t->c, 1e10));
    put(prefix, "h", t->h);
    put(prefix, "k", t->k);
    put(prefix, "l", t->l);
    put_count(prefix, "h0", t->h0);
    put_count(prefix, "k0", t->k0);
    put_count(prefix, "l0", t->l0);
    if (shape == SQUARE) {
        put(prefix, "F_latt_a", t->latt_a);
        put(prefix, "F_latt_b", t->latt_b);
        put(prefix, "F_latt_c", t->latt_c);
    } else {
        put(prefix, "rad_star_sqr", t->rad_star_sqr);
    }
    if (shape == ROUND)
        put(prefix, "hrad_sqr", t->hrad_sqr);
    put(prefix, "F_latt", t->F_latt);
    put(prefix, "F_cell", t->F_cell);
    put(prefix, "I_term", t->intensity);
    put(prefix, "I_after_add", I);
    put_count(prefix, "interpolate", interpolate);
}

static void watch_subpixel(struct watcher *w, const struct simulation *sim, const struct progress *p,
                           const struct subpixel *sub)
{
    char prefix[96];
    if (!w->any_subpixel) {
        w->any_subpixel = true;
        w->first_subpixel.sub = *sub;
        w->first_subpixel.omega = p->omega;
        w->first_subpixel.capture = p->capture;
    }
    w->last_subpixel = *sub;
    snprintf(prefix, sizeof prefix, "subpixel %ld %ld %ld", sub->layer, sub->s, sub->f);
    if (w->trace)
        put_subpixel(prefix, sim, sub, p->omega, p->capture);
}

static void watch_ray(struct watcher *w, const struct progress *p, const struct subpixel *sub, const struct ray *ray)
{
    char prefix[96];
    struct ray seen = *ray;
    seen.cos2theta = dot(ray->incident, sub->diffracted);
    if (!w->any_ray) {
        w->any_ray = true;
        w->first_ray.ray = seen;
        w->first_ray.polar = p->polar;
    }
    w->last_ray = seen;
    snprintf(prefix, sizeof prefix, "ray %ld %ld %ld %ld", sub->layer, sub->s, sub->f, ray->source);
    if (w->trace)
        put_ray(prefix, &seen, p->polar);
}

static void watch_term(struct watcher *w, const struct simulation *sim, const struct progress *p,
                       const struct subpixel *sub, const struct ray *ray, const struct term *term)
{
    char prefix[128];
    if (!w->any_term) {
        w->any_term = true;
        w->first_term.term = *term;
        w->first_term.I = p->I;
        w->first_term.interpolate = p->interpolate;
    }
    w->last_term = *term;
    snprintf(prefix, sizeof prefix, "term %ld %ld %ld %ld %ld %ld", sub->layer, sub->s, sub->f, ray->source,
             term->phi_step, term->domain);
    if (w->trace)
        put_term(prefix, (enum shape)sim->set.shape, term, p->I, p->interpolate);
}

static void trace_detector(const struct settings *set, const struct detector *det)
{
    static const char *const S = "setup";
    printf("TRACE setup pivot %s\n", set->pivot == SAMPLE ? "SAMPLE" : "BEAM");
    put_vector(S, "fdet_vector", det->fdet);
    put_vector(S, "sdet_vector", det->sdet);
    put_vector(S, "odet_vector", det->odet);
    put_vector(S, "beam_vector", det->beam);
    put_vector(S, "polar_vector", det->polar);
    put_vector(S, "vert_vector", det->vertical);
    put_vector(S, "spindle_vector", det->spindle);
    put_vector(S, "twotheta_axis", det->twotheta_axis);
    put_vector(S, "pix0_vector_m", det->pix0);
    put(S, "distance_m", det->distance_m);
    put(S, "close_distance_m", det->close_distance_m);
    put(S, "ratio", det->ratio);
    put(S, "Fbeam_m", det->beam_m[0]);
    put(S, "Sbeam_m", det->beam_m[1]);
    put(S, "Fclose_m", det->near_m[0]);
    put(S, "Sclose_m", det->near_m[1]);
    put(S, "Xbeam_m", set->beam_m[0]);
    put(S, "Ybeam_m", set->beam_m[1]);
    put(S, "Xclose_m", set->close_m[0]);
    put(S, "Yclose_m", set->close_m[1]);
    put(S, "ORGX_px", det->org_px[0]);
    put(S, "ORGY_px", det->org_px[1]);
    put_vector(S, "dials_origin_mm", from_array(det->dials_origin_mm));
    put(S, "twotheta_rad", set->twotheta_rad);
    put(S, "rotx_rad", set->rotation_rad[0]);
    put(S, "roty_rad", set->rotation_rad[1]);
    put(S, "rotz_rad", set->rotation_rad[2]);
    put(S, "pixel_size_m", set->pixel_m);
    put_count(S, "fpixels", set->pixels[0]);
    put_count(S, "spixels", set->pixels[1]);
    put(S, "detsize_f_m", set->size_m[0]);
    put(S, "detsize_s_m", set->size_m[1]);
}

static void trace_sampling(const struct simulation *sim)
{
    static const char *const S = "setup";
    const struct settings *set = &sim->set;
    put(S, "lambda0_m", set->lambda_m);
    put(S, "fluence_ph_m2", set->fluence);
    put(S, "phi0_rad", set->phi_rad);
    put(S, "osc_rad", set->osc_rad);
    put(S, "phistep_rad", set->phistep_rad);
    put_count(S, "phisteps", set->phisteps);
    put(S, "hdivrange_rad", set->divrange_rad[0]);
    put(S, "hdivstep_rad", set->divstep_rad[0]);
    put_count(S, "hdivsteps", set->divsteps[0]);
    put(S, "vdivrange_rad", set->divrange_rad[1]);
    put(S, "vdivstep_rad", set->divstep_rad[1]);
    put_count(S, "vdivsteps", set->divsteps[1]);
    put(S, "dispersion", set->dispersion);
    put(S, "dispstep", sim->dispstep);
    put_count(S, "dispsteps", set->dispsteps);
    put(S, "detector_thick_m", set->thick_m);
    put(S, "detector_thickstep_m", sim->thickstep_m);
    put_count(S, "detector_thicksteps", set->thicksteps);
    put(S, "detector_mu_per_m", set->mu_per_m);
}

static void trace_crystal(const struct simulation *sim)
{
    static const char *const S = "setup";
    const vec3 *v = sim->xtal.axis_A, *r = sim->xtal.star;
    put_vector(S, "a_A", v[0]);
    put_vector(S, "b_A", v[1]);
    put_vector(S, "c_A", v[2]);
    put_vector(S, "a_star_invA", r[0]);
    put_vector(S, "b_star_invA", r[1]);
    put_vector(S, "c_star_invA", r[2]);
    put(S, "V_cell_A3", sim->xtal.volume_A3);
    put(S, "V_star_invA3", sim->xtal.star_volume);
    put(S, "a_len_A", magnitude(v[0]));
    put(S, "b_len_A", magnitude(v[1]));
    put(S, "c_len_A", magnitude(v[2]));
    put(S, "alpha_rad", angle_between(v[1], v[2]));
    put(S, "beta_rad", angle_between(v[2], v[0]));
    put(S, "gamma_rad", angle_between(v[0], v[1]));
    put(S, "alpha_star_rad", star_angle(&sim->xtal, 0));
    put(S, "beta_star_rad", star_angle(&sim->xtal, 1));
    put(S, "gamma_star_rad", star_angle(&sim->xtal, 2));
    put_vector(S, "misset_rad", from_array(sim->misset_rad));
    put_count(S, "Na", sim->set.cells[0]);
    put_count(S, "Nb", sim->set.cells[1]);
    put_count(S, "Nc", sim->set.cells[2]);
    put_count(S, "oversample", sim->set.oversample);
    put_count(S, "interpolate", sim->set.interpolate);
    put_count(S, "hkls", sim->grid.reflections);
    put(S, "default_F", sim->set.default_F);
}

/* Five numbers for each source, nine for each mosaic domain, all on one line. */
static void trace_lists(const struct simulation *sim)
{
    printf("TRACE setup sources_unit_xyz_weight_lambda_m");
    for (long i = 0; i < sim->sources; i++) {
        const struct source *s = &sim->source[i];
        printf(" %.17g %.17g %.17g %.17g %.17g", s->direction.x, s->direction.y, s->direction.z, s->weight,
               s->lambda_m);
    }
    printf("\nTRACE setup mosaic_spread_rad %.17g", sim->set.mosaic_spread_rad);
    printf("\nTRACE setup mosaic_umats_row_major");
    for (long i = 0; i < 9 * sim->set.mosaic_domains; i++)
        printf(" %.17g", sim->domain[i / 9].m[i % 9 / 3][i % 3]);
    putchar('\n');
}

static void trace_statistics(const struct simulation *sim, const struct statistics *st)
{
    put("statistics", "max_I", st->max);
    put("statistics", "max_I_x", st->max_fast_m);
    put("statistics", "max_I_y", st->max_slow_m);
    put("statistics", "avg", st->mean);
    put("statistics", "rms", st->rms);
    put("statistics", "rmsd", st->rmsd);
    put("statistics", "omega_sum", sim->omega_sum);
    put("statistics", "sum", st->sum);
}

/* First evaluation and final quantities of the pixel. */
static void trace_values(const struct simulation *sim, const struct watcher *w, const struct progress *p,
                         double photons, long pixel)
{
    static const char *const V = "value";
    put_subpixel(V, sim, &w->first_subpixel.sub, w->first_subpixel.omega, w->first_subpixel.capture);
    if (w->any_ray)
        put_ray(V, &w->first_ray.ray, w->first_ray.polar);
    if (w->any_term)
        put_term(V, (enum shape)sim->set.shape, &w->first_term.term, w->first_term.I, w->first_term.interpolate);
    put(V, "I_sum", p->I);
    put(V, "I_bg", sim->background);
    put_count(V, "steps", sim->steps);
    put(V, "r_e_sqr_m2", R_E_SQR);
    put(V, "fluence_ph_m2", sim->set.fluence);
    put(V, "capture_fraction_used", p->capture);
    put(V, "polar_used", p->polar);
    put(V, "omega_used_sr", p->omega);
    put(V, "intensity_f64", photons);
    put(V, "intensity_f32", sim->image[pixel]);
}

/* Compute the pixel once more, in the state that it met in the run, and print everything. */
static void trace_pixel(const struct simulation *sim, const struct statistics *st)
{
    long pixel = sim->set.trace_pixel[0] * sim->set.pixels[0] + sim->set.trace_pixel[1];
    struct watcher watcher = {.trace = true};
    struct progress p = {.interpolate = pixel <= sim->latch_pixel, .watcher = &watcher};
    printf("TRACE pixel slow_fast %ld %ld\n", sim->set.trace_pixel[0], sim->set.trace_pixel[1]);
    trace_detector(&sim->set, &sim->det);
    trace_sampling(sim);
    trace_crystal(sim);
    trace_lists(sim);
    trace_statistics(sim, st);
    double photons = pixel_photons(sim, &p, pixel);
    trace_values(sim, &watcher, &p, photons, pixel);
}

/* Values of the last evaluation, apart from the final ones. */
static void print_pixel(const struct simulation *sim, long pixel)
{
    struct watcher w = {0};
    struct progress p = {.interpolate = pixel <= sim->latch_pixel, .watcher = &w};
    pixel_photons(sim, &p, pixel);
    const struct term *t = &w.last_term;
    const vec3 *r = &w.last_subpixel.position_m;
    printf("%4ld %4ld :  stol = %g (1/m) = %g (1/A)\n", pixel % sim->set.pixels[0], pixel / sim->set.pixels[0],
           w.last_ray.stol, w.last_ray.stol / 1e10);
    printf("  at %g %g %g m\n", r->x, r->y, r->z);
    printf("  hkl= %f %f %f  hkl0= %ld %ld %ld\n", t->h, t->k, t->l, t->h0, t->k0, t->l0);
    printf("  F_cell=%g  F_latt=%g  I = %g  I/steps = %15.10g\n", t->F_cell, t->F_latt, p.I, p.I / (double)sim->steps);
    printf("  polar= %15.10g  omega= %15.10g  capture= %15.10g\n", p.polar, p.omega, p.capture);
    printf("  pixel= %15.10g\n", (double)sim->image[pixel]);
    printf("  real-space cell vectors (Angstrom):\n     X %g %g %g\n     Y %g %g %g\n     Z %g %g %g\n",
           t->a.x * 1e10, t->b.x * 1e10, t->c.x * 1e10, t->a.y * 1e10, t->b.y * 1e10, t->c.y * 1e10, t->a.z * 1e10,
           t->b.z * 1e10, t->c.z * 1e10);
}

static void print_pixels(const struct simulation *sim)
{
    const long *only = sim->set.printout_pixel, width = sim->set.pixels[0];
    for (long i = 0; i < pixel_count(sim); i++)
        if (is_rendered(sim, i) && (only[0] < 0 || (i % width == only[0] && i / width == only[1])))
            print_pixel(sim, i);
}

/* ---------------------------------------------------------------------------------------------------------
 * 17. Output files: complete in memory, written under temporary names, renamed when all are there
 * ------------------------------------------------------------------------------------------------------- */

struct output {
    const char *name;
    char *temporary;          /* NULL: written in place, since the target is not an ordinary file */
    void *bytes;
    size_t length;
};

enum { MOST_OUTPUTS = 5 };
static struct output outputs[MOST_OUTPUTS];
static int output_count;

static void remove_temporaries(void)
{
    for (int i = 0; i < output_count; i++)
        if (outputs[i].temporary)
            remove(outputs[i].temporary);
}

static bool same_file(const char *name, const char *other)
{
    struct stat a, b;
    return !strcmp(name, other)
        || (!stat(name, &a) && !stat(other, &b) && S_ISREG(a.st_mode) && a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/* Find out before rendering whether a file can be written, without touching it; NULL if it can. */
static const char *try_output(struct output *o)
{
    struct stat info;
    bool exists = lstat(o->name, &info) == 0;
    if (exists && S_ISDIR(info.st_mode))
        return strerror(EISDIR);
    if (exists && access(o->name, W_OK))
        return strerror(errno);
    if (exists && !S_ISREG(info.st_mode))
        return NULL;
    size_t room = strlen(o->name) + 32;
    o->temporary = allocate(room, 1, o->name);
    snprintf(o->temporary, room, "%s.%ld.tmp", o->name, (long)getpid());
    FILE *file = fopen(o->temporary, "wb");
    if (!file)
        return strerror(errno);
    fclose(file);
    remove(o->temporary);
    return NULL;
}

static void register_output(const char *name, bool required)
{
    struct output *o = &outputs[output_count];
    for (int i = 0; i < output_count; i++)
        if (same_file(outputs[i].name, name))
            die("%s: two outputs have this name", name);
    *o = (struct output){.name = name};
    const char *problem = try_output(o);
    if (problem && required)
        die("%s: cannot be written (%s)", name, problem);
    if (problem)
        warn("%s: cannot be written (%s)", name, problem);
    else
        output_count++;
}

/* Hand over the contents of an output. */
static void fill_output(const char *name, void *bytes, size_t length)
{
    for (int i = 0; i < output_count; i++)
        if (!strcmp(outputs[i].name, name)) {
            outputs[i].bytes = bytes;
            outputs[i].length = length;
            return;
        }
    free(bytes);
}

static void write_output(const struct output *o)
{
    FILE *file = fopen(o->temporary ? o->temporary : o->name, "wb");
    bool good = file && fwrite(o->bytes, 1, o->length, file) == o->length && fflush(file) == 0;
    int reason = errno;
    if (file && fclose(file) && good) {
        good = false;
        reason = errno;
    }
    if (!good)
        die("%s: cannot be written (%s)", o->name, strerror(reason));
}

static void write_outputs(void)
{
    for (int i = 0; i < output_count; i++) {
        printf("writing %s\n", outputs[i].name);
        write_output(&outputs[i]);
        free(outputs[i].bytes);
    }
    for (int i = 0; i < output_count; i++) {
        struct output *o = &outputs[i];
        if (o->temporary && rename(o->temporary, o->name))
            die("%s: cannot be written (%s)", o->name, strerror(errno));
        free(o->temporary);
        o->temporary = NULL;
    }
    if (fflush(stdout) || ferror(stdout))
        die("standard output: cannot be written (%s)", strerror(errno));
}

static void register_outputs(const struct simulation *sim)
{
    const struct settings *set = &sim->set;
    const char *inputs[] = {set->hkl_file, set->matrix_file, set->source_file, set->image_file, set->mask_file,
                            set->stol_file};
    atexit(remove_temporaries);
    register_output(set->float_name, true);
    register_output(set->int_name, true);
    if (set->write_pgm)
        register_output(set->pgm_name, true);
    if (set->write_noise)
        register_output(set->noise_name, true);
    if (set->hkl_file)
        register_output(dump_name(set), false);
    for (int i = 0; i < output_count; i++)
        for (size_t j = 0; j < sizeof inputs / sizeof inputs[0]; j++)
            if (inputs[j] && same_file(outputs[i].name, inputs[j]))
                die("%s: is an input and an output", inputs[j]);
}

/* Structure-factor cache: ranges as text, then the table with its padding planes. */
static void make_dump(const struct simulation *sim)
{
    const struct grid *g = &sim->grid;
    char header[160];
    int start = snprintf(header, sizeof header, "%ld %ld %ld %ld %ld %ld\n\f", g->min[0], g->max[0], g->min[1],
                         g->max[1], g->min[2], g->max[2]);
    size_t data = (size_t)(g->cells[0] * g->cells[1] * g->cells[2]) * sizeof(double);
    char *bytes = allocate((size_t)start + data, 1, "the structure-factor cache");
    memcpy(bytes, header, (size_t)start);
    memcpy(bytes + start, g->F, data);
    fill_output(dump_name(&sim->set), bytes, (size_t)start + data);
}

static bool little_endian(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* Text of an SMV header; the line of DIALS_ORIGIN has no semicolon. */
static int smv_text(const struct simulation *sim, char *text, size_t room, int header_bytes)
{
    const struct settings *set = &sim->set;
    const struct detector *det = &sim->det;
    const double pixel = set->pixel_m, F = det->beam_m[0], S = det->beam_m[1];
    int n = snprintf(text, room,
        "{\nHEADER_BYTES=%d;\nDIM=2;\nBYTE_ORDER=%s;\nTYPE=unsigned_short;\nSIZE1=%ld;\nSIZE2=%ld;\n"
        "PIXEL_SIZE=%g;\nDISTANCE=%g;\nWAVELENGTH=%g;\nBEAM_CENTER_X=%g;\nBEAM_CENTER_Y=%g;\n"
        "ADXV_CENTER_X=%g;\nADXV_CENTER_Y=%g;\nMOSFLM_CENTER_X=%g;\nMOSFLM_CENTER_Y=%g;\n"
        "DENZO_X_BEAM=%g;\nDENZO_Y_BEAM=%g;\nDIALS_ORIGIN=%g,%g,%g\nXDS_ORGX=%g;\nXDS_ORGY=%g;\n",
        header_bytes, little_endian() ? "little_endian" : "big_endian", set->pixels[0], set->pixels[1],
        pixel * 1000.0, det->distance_m * 1000.0, set->lambda_m * 1e10, set->beam_m[0] * 1000.0,
        set->beam_m[1] * 1000.0, F * 1000.0, (set->size_m[1] - S) * 1000.0, (S - 0.5 * pixel) * 1000.0,
        (F - 0.5 * pixel) * 1000.0, S * 1000.0, F * 1000.0, det->dials_origin_mm[0], det->dials_origin_mm[1],
        det->dials_origin_mm[2], det->org_px[0], det->org_px[1]);
    n += snprintf(text + n, room - (size_t)n,
        "CLOSE_DISTANCE=%g;\nPHI=%g;\nOSC_START=%g;\nOSC_RANGE=%g;\nTWOTHETA=%g;\n"
        "DETECTOR_SN=000;\nBEAMLINE=fake;\n}\f",
        det->close_distance_m * 1000.0, set->phi_rad * RTD, set->phi_rad * RTD, set->osc_rad * RTD,
        set->twotheta_rad * RTD);
    return n;
}

/* Header, blanks up to 512 bytes (1024 if the text is longer), then the pixels. */
static void make_smv(const struct simulation *sim, const char *name, const uint16_t *pixels)
{
    char text[1025];
    int header = 512;
    if (smv_text(sim, text, sizeof text, header) > header)
        header = 1024;
    int used = smv_text(sim, text, sizeof text, header);
    size_t data = (size_t)pixel_count(sim) * sizeof *pixels;
    char *bytes = allocate((size_t)header + data, 1, name);
    memset(bytes, ' ', (size_t)header);
    memcpy(bytes, text, (size_t)used);
    memcpy(bytes + header, pixels, data);
    fill_output(name, bytes, (size_t)header + data);
}

/* Conversion toward zero; what no integer can hold becomes 0. */
static long truncated(double value)
{
    return value > -9e15 && value < 9e15 ? (long)value : 0;
}

/* Pixel x scale + offset, clipped to 16 bits and rounded by way of single precision. */
static void make_integer_image(const struct simulation *sim, double scale)
{
    long width = sim->set.pixels[0], count = pixel_count(sim);
    uint16_t *pixels = allocate((size_t)count, sizeof *pixels, "the integer image");
    for (long i = 0; i < count; i++)
        if (in_roi(&sim->set, i % width, i / width)) {
            double t = sim->image[i] * scale + sim->set.adc_offset;
            if (t > 65535.0)
                t = 65535.0;
            if (t < 0.0)
                t = 0.0;
            pixels[i] = (uint16_t)truncated(floor((float)(t + 0.5)));
        }
    make_smv(sim, sim->set.int_name, pixels);
    free(pixels);
}

static void make_pgm(const struct simulation *sim, double scale)
{
    char header[160];
    long width = sim->set.pixels[0], count = pixel_count(sim);
    int start = snprintf(header, sizeof header, "P5\n%ld %ld\n# pixels scaled by %g\n255\n", width, sim->set.pixels[1],
                         scale);
    unsigned char *bytes = allocate((size_t)start + (size_t)count, 1, "the grey map");
    memcpy(bytes, header, (size_t)start);
    for (long i = 0; i < count; i++)
        if (in_roi(&sim->set, i % width, i / width)) {
            double t = sim->image[i] * scale;
            bytes[start + i] = (unsigned char)truncated(t > 255.0 ? 255.0 : t);
        }
    fill_output(sim->set.pgm_name, bytes, (size_t)start + (size_t)count);
}

/* One Poisson deviate for every pixel of the region of interest, masked ones included, plus the offset,
 * truncated; a negative sum wraps around. */
static void make_noise_image(const struct simulation *sim)
{
    long width = sim->set.pixels[0], count = pixel_count(sim), overloads = 0, state = -sim->set.noise_seed;
    double photons = 0.0;
    uint16_t *pixels = allocate((size_t)count, sizeof *pixels, "the noise image");
    printf("seed: %ld\n", state);
    for (long i = 0; i < count; i++) {
        if (!in_roi(&sim->set, i % width, i / width))
            continue;
        float drawn = poisson_deviate(sim->image[i], &state);
        double t = drawn + sim->set.adc_offset;
        photons += drawn;
        if (t > 65535.0) {
            t = 65535.0;
            overloads++;
        }
        pixels[i] = (uint16_t)truncated(t);
    }
    printf("%.0f photons on noise image (%ld overloads)\n", photons, overloads);
    make_smv(sim, sim->set.noise_name, pixels);
    free(pixels);
}

static void make_float_image(struct simulation *sim)
{
    size_t length = (size_t)pixel_count(sim) * sizeof(float);
    void *bytes = allocate(length, 1, "the float image");
    memcpy(bytes, sim->image, length);
    fill_output(sim->set.float_name, bytes, length);
}

static void make_images(struct simulation *sim, const struct statistics *st)
{
    double scale = sim->set.scale > 0.0 ? sim->set.scale : st->max > 0.0 ? 55000.0 / st->max : 1.0;
    printf("intfile_scale = %g\n", scale);
    make_float_image(sim);
    make_integer_image(sim, scale);
    if (sim->set.write_pgm) {
        double pgm_scale = sim->set.pgm_scale;
        if (!(pgm_scale > 0.0))
            pgm_scale = st->rmsd > 0.0 ? 250.0 / (5.0 * st->rmsd) : scale;
        printf("pgm_scale = %g\n", pgm_scale);
        make_pgm(sim, pgm_scale);
    }
    if (sim->set.write_noise)
        make_noise_image(sim);
    if (sim->set.hkl_file)
        make_dump(sim);
}

/* ---------------------------------------------------------------------------------------------------------
 * 18. The run
 * ------------------------------------------------------------------------------------------------------- */

static void require_inputs(const struct simulation *sim)
{
    const struct settings *set = &sim->set;
    if (!set->cell_given && !set->matrix_file)
        die("no unit cell: give -cell or -mat (-h prints all options)");
    if (!set->hkl_file && set->default_F == 0.0 && access(dump_name(set), R_OK))
        die("no structure factors: give -hkl or -default_F (-h prints all options)");
    if (sim->mask && (sim->mask_size[0] != set->pixels[0] || sim->mask_size[1] != set->pixels[1]))
        die("%s: the mask has %ld x %ld pixels, the detector %ld x %ld", set->mask_file, sim->mask_size[0],
            sim->mask_size[1], set->pixels[0], set->pixels[1]);
    if (set->trace_pixel[0] >= 0
        && (set->trace_pixel[0] >= set->pixels[1] || set->trace_pixel[1] >= set->pixels[0]
            || !is_rendered(sim, set->trace_pixel[0] * set->pixels[0] + set->trace_pixel[1])))
        die("-trace_pixel: pixel %ld %ld (slow, fast) is not rendered", set->trace_pixel[0], set->trace_pixel[1]);
}

/* The list of -hkl, else the cache of an earlier run, even if there is a default structure factor. */
static void load_structure_factors(struct simulation *sim)
{
    struct settings *set = &sim->set;
    if (set->hkl_file) {
        printf("counting entries in %s\n", set->hkl_file);
        read_hkl(&sim->grid, set->hkl_file, set->default_F);
    } else if (set->dump_file || access(dump_name(set), R_OK) == 0) {
        printf("reading Fs from %s\n", dump_name(set));
        read_dump(&sim->grid, dump_name(set));
    }
    if (!sim->grid.reflections)
        set->interpolate = OFF;
    if (set->stol_file)
        check_stol_file(set->stol_file);
}

static void print_summary(const struct simulation *sim)
{
    const struct settings *set = &sim->set;
    const struct detector *det = &sim->det;
    printf("  %ld initialized hkls (all others =%g)\n", sim->grid.reflections, set->default_F);
    printf("  xtal: %ldx%ldx%ld cells, %s shape\n", set->cells[0], set->cells[1], set->cells[2],
           shape_names[set->shape]);
    printf("  wave=%g meters +/- %g%% in %ld steps\n", set->lambda_m, set->dispersion * 100.0, set->dispsteps);
    printf("  Kahn polarization factor: %g%s\n", set->kahn_factor, set->nopolar ? " (off)" : "");
    printf("  incident fluence: %g photons/m^2\n", set->fluence);
    printf("  distance=%g detsize=%gx%g  pixel=%g meters (%ldx%ld pixels)\n", det->distance_m, set->size_m[0],
           set->size_m[1], set->pixel_m, set->pixels[0], set->pixels[1]);
    printf("  sensor is %g m thick in %ld layers\n", set->thick_m, set->thicksteps);
    printf("  Xbeam=%g Ybeam=%g\n", set->beam_m[0], set->beam_m[1]);
    printf("  Fbeam=%g Sbeam=%g\n", det->beam_m[0], det->beam_m[1]);
    printf("  Xclose=%g Yclose=%g\n", set->close_m[0], set->close_m[1]);
    printf("  Fclose=%g Sclose=%g\n", det->near_m[0], det->near_m[1]);
    printf("  roi: %ld < x < %ld && %ld < y < %ld\n", set->roi[0], set->roi[1], set->roi[2], set->roi[3]);
    printf("  %ld divergence steps\n", set->divsteps[0] * set->divsteps[1]);
    printf("  %ld sources\n", sim->sources);
    printf("  %ld mosaic domains over mosaic spread of %g deg\n", set->mosaic_domains, set->mosaic_spread_rad * RTD);
    printf("  %ld phi steps from %g to %g degrees\n", set->phisteps, set->phi_rad * RTD,
           (set->phi_rad + set->osc_rad) * RTD);
    printf("  %ldx%ld pixel oversample steps\n", set->oversample, set->oversample);
}

static void print_statistics(const struct simulation *sim, const struct statistics *st)
{
    double omega = sim->omega_sum / (double)sim->steps;
    printf("solid angle subtended by detector = %g steradian ( %g%% sphere)\n", omega, 100.0 * omega / 4.0 / M_PI);
    printf("max_I = %g  at %g %g\n", st->max, st->max_fast_m, st->max_slow_m);
    printf("mean= %g rms= %g rmsd= %g\n", st->mean, st->rms, st->rmsd);
}

/* Everything before rendering, in the order of the canonical program. */
static void prepare(struct simulation *sim)
{
    struct settings *set = &sim->set;
    resolve_detector_size(set);
    resolve_beam(set);
    resolve_roi(set);
    require_inputs(sim);
    resolve_phi(set);
    resolve_ranges(sim);
    resolve_mosaic(set);
    build_detector(&sim->det, set);
    resolve_interpolation(set);
    build_crystal(sim);
    resolve_crystal_size(sim);
    load_structure_factors(sim);
    build_sources(sim);
    build_domains(sim);
    double steps = (double)sim->sources * (double)set->mosaic_domains * (double)set->phisteps
                 * (double)set->oversample * (double)set->oversample;
    if (steps > 1e15)
        die("%g evaluations per pixel are too many", steps);
    sim->steps = (long)steps;
    sim->background = water_background(set);
    prepare_carry_over(sim);
    print_summary(sim);
}

static void release(struct simulation *sim)
{
    free(sim->grid.F);
    free(sim->source);
    free(sim->domain);
    free(sim->mask);
    free(sim->image);
}

int main(int argc, char **argv)
{
    struct simulation sim = {.set = default_settings()};
    struct settings checked = sim.set;
    parse_arguments(&checked, argc, argv);                 /* all mistakes, and the names of -img and -mask */
    read_headers(&sim, checked.mask_file, checked.image_file);
    parse_arguments(&sim.set, argc, argv);                 /* options override headers */
    prepare(&sim);
    register_outputs(&sim);
    render_image(&sim);
    if (sim.set.printout)
        print_pixels(&sim);
    struct statistics st = image_statistics(&sim);
    print_statistics(&sim, &st);
    if (sim.set.trace_pixel[0] >= 0)
        trace_pixel(&sim, &st);
    make_images(&sim, &st);
    write_outputs();
    release(&sim);
    return EXIT_SUCCESS;
}
